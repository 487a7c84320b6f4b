#!/usr/bin/env bash
# Tests with each supported release of torch: `make test-torch-versions`. Each has an environment in build/torch with that
# torch, several GB with the CUDA packages that most releases come with; everything else is .venv's. Prints a table of
# each release's last run. VERSIONS="2.14.1" limits it to some; `make clean` removes the environments.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
cd "$ROOT"

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_PROGRESS_BAR=off
tested=$(.venv/bin/python -c 'from aotbuild.spec.torch_versions import TESTED; print(*TESTED)')
read -ra versions <<<"${VERSIONS:-$tested}"
JOBS=${JOBS:-$(nproc)}
# Attention, packed layers and dynamic sizes; sizes that depend on values; two methods that share state; RUNTIME torch.
ZOO=transformer,unbacked_sizes,generator,decompositions
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
reports=$ROOT/build/torch/reports
failed=()

for version in "${versions[@]}"; do
  environment=$ROOT/build/torch/$version
  if ! [[ -f $environment/complete ]]; then
    rm -rf "$environment"
    step "environment of torch $version" 'Is there room on the disk?' .venv/bin/python -m venv "$environment"
    step "torch $version" 'If the network failed, run the same command again.' \
      "$environment/bin/python" -m pip install --no-compile "torch==$version"
    # What is in the environment itself comes first.
    "$environment/bin/python" - "$site" <<'PYTHON'
import pathlib, sys, sysconfig
pathlib.Path(sysconfig.get_path("platlib"), "zz_shared.pth").write_text(f"import site; site.addsitedir({sys.argv[1]!r})\n")
PYTHON
    for header in "$ROOT"/.venv/include/*; do
      [[ -e $environment/include/${header##*/} ]] || ln -s "$header" "$environment/include/"
    done
    touch "$environment/complete"
  fi
  rm -rf "${reports:?}/$version"
  printf 'torch %s\n' "$("$environment/bin/python" -c 'import torch; print(torch.__version__)')"
  # tests <name> <arguments of pytest...>
  tests() {
    env "PATH=$environment/bin:$PATH" "VIRTUAL_ENV=$environment" "$environment/bin/python" -m pytest -q \
      --junitxml "$reports/$version/$1.xml" "${@:2}" || failed+=("$version")
  }
  # Those of tests/cmake have a stand-in for the generator, and no torch.
  tests quick -n "$((JOBS > 1 ? JOBS : 0))" --dist loadfile -m quick tests/unit tests/tuning
  # Models compiled for a GPU that this machine need not have.
  tests cuda -k 'attention or bert or hand_written' tests/unit/test_cuda_lowering.py
  # Libraries that CMake builds, beside eager PyTorch. What kind of library it is makes no difference to torch.
  tests models --zoo "$ZOO" tests/models/test_zoo.py
done

.venv/bin/python - "$reports" <<'PYTHON'
import pathlib, sys, xml.etree.ElementTree as xml
columns = ("passed", "failed", "skipped", "seconds")
print(f"\n| torch | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
for release in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    suites = [suite for file in release.glob("*.xml") for suite in xml.parse(file).iter("testsuite")]
    total, failures, errors, skipped = (
        sum(int(suite.attrib[key]) for suite in suites) for key in ("tests", "failures", "errors", "skipped")
    )
    bad, seconds = failures + errors, sum(float(suite.attrib["time"]) for suite in suites)
    print(f"| {release.name} | {total - bad - skipped} | {bad} | {skipped} | {seconds:.0f} |")
PYTHON

if ((${#failed[@]} > 0)); then
  printf 'failed with torch %s\n' "$(printf '%s\n' "${failed[@]}" | sort -uV | xargs)" >&2
  exit 1
fi
