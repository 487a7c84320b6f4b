#!/usr/bin/env bash
# Installs Ray below build/ray and measures a bundle by two of its workers, one of which is killed meanwhile.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
cd "$ROOT"

ray=ray==2.60.0
folder=build/ray
if ! [[ -f $folder/$ray ]]; then
  rm -rf "$folder"
  step "Ray ($ray)" 'Package tools need a package index; run the same command again when it can be reached.' \
    python -m pip install --target "$folder" "$ray"
  touch "$folder/$ray"
fi
exec python tests/tuning/check_ray.py "$folder"
