#!/usr/bin/env bash
# Runs the quick tests, and real builds of models, with each supported release of torch: `make test-torch-versions`.
# Each has an environment in build/torch with that torch, a few GB with the CUDA packages that most releases come with;
# everything else is .venv's. VERSIONS="2.14.1" limits it to some.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
cd "$ROOT"

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_PROGRESS_BAR=off
read -ra versions <<<"${VERSIONS:-2.12.1 2.13.0 2.14.1 2.15.0}"
JOBS=${JOBS:-$(nproc)}
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
failed=()

for version in "${versions[@]}"; do
  environment=$ROOT/build/torch/$version
  if ! [[ -f $environment/complete ]]; then
    rm -rf "$environment"
    step "environment of torch $version" 'Is there room on the disk?' .venv/bin/python -m venv "$environment"
    step "torch $version" 'If the network failed, run the same command again.' \
      "$environment/bin/python" -m pip install "torch==$version"
    # What is in the environment itself comes first.
    "$environment/bin/python" - "$site" <<'PYTHON'
import pathlib, sys, sysconfig
pathlib.Path(sysconfig.get_path("platlib"), "zz_shared.pth").write_text(f"import site; site.addsitedir({sys.argv[1]!r})\n")
PYTHON
    ln -s "$ROOT"/.venv/lib/libdnnl* "$environment/lib/"
    for header in "$ROOT"/.venv/include/*; do
      [[ -e $environment/include/${header##*/} ]] || ln -s "$header" "$environment/include/"
    done
    touch "$environment/complete"
  fi
  printf 'torch %s: ' "$("$environment/bin/python" -c 'import torch; print(torch.__version__)')"
  run=(env "PATH=$environment/bin:$PATH" "VIRTUAL_ENV=$environment" "$environment/bin/python" -m pytest -q)
  { "${run[@]}" -n "$JOBS" --dist worksteal -m quick && "${run[@]}" tests/cmake/test_real.py; } || failed+=("$version")
done

if ((${#failed[@]} > 0)); then
  printf 'failed with torch %s\n' "${failed[*]}" >&2
  exit 1
fi
