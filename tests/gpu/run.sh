#!/usr/bin/env bash
# Runs the tests and the benchmark of each model of this folder: one line each. Needs an NVIDIA driver and xz.
# --tests: no benchmarks.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1

# A read-only package is run from a copy.
if ! touch .writable 2>/dev/null; then
  copy=$(mktemp -d)
  trap 'rm -rf "$copy"' EXIT
  cp -R . "$copy" && chmod -R u+w "$copy" && cd "$copy" || exit 1
fi
rm -f .writable
for file in *.safetensors.xz; do
  [[ -f ${file%.xz} ]] || xz -dk "$file"
done

failed=0
for test in *_test; do
  model=${test%_test}
  output=$("./$test" 2>&1) && status=0 || status=$?
  if ((status == 77)); then
    printf 'SKIP %-12s %s\n' "$model" "$(tail -n 1 <<<"$output")"
  elif ((status == 0)); then
    printf 'PASS %-12s %s\n' "$model" "$(grep -o 'largest absolute error [^ ,]*' <<<"$output" | sort -g -k 4 | tail -n 1)"
  else
    failed=$((failed + 1))
    printf 'FAIL %s\n%s\n' "$model" "$output"
  fi
done
# Which libraries a model needs from the machine: all that the dynamic linker opened, less those of this folder.
printf 'libraries of the machine: '
LD_DEBUG=libs ./mlp_test 2>&1 | sed -n 's/.*calling init: //p' | grep -v "^$PWD/\|^\./" | xargs -n 1 basename | sort -u |
  tr '\n' ' '
echo
[[ ${1:-} == --tests ]] && benchmarks=() || benchmarks=(*_bench)
for benchmark in "${benchmarks[@]}"; do
  "./$benchmark" || failed=$((failed + 1))
done
((failed == 0)) && echo 'all passed' || echo "$failed failed"
exit $((failed > 0))
