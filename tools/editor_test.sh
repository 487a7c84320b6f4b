#!/usr/bin/env bash
# What clangd shows of a generated header in a project of `aotbuild init`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
cd "$ROOT"

if ! command -v clangd >/dev/null; then
  step 'clangd' 'Install it: apt-get install clangd' apt-get install -y --no-install-recommends clangd
fi
exec python tests/editor/check_hovers.py build/editor
