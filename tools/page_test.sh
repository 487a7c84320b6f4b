#!/usr/bin/env bash
# Looks at pages of reports in headless Chromium. page_test.sh [page ...]: further ones.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
cd "$ROOT"

if ! command -v chromium >/dev/null; then
  step 'Chromium' 'Install it: apt-get install chromium' apt-get install -y --no-install-recommends chromium
fi
exec python tests/pages/check_pages.py build/pages "$@"
