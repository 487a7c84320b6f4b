#!/usr/bin/env bash
# Runs the golden test and the benchmark of each model of this folder: one line each. Needs an NVIDIA driver and gunzip.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1

# A read-only package is run from a copy.
if ! touch .writable 2>/dev/null; then
  copy=$(mktemp -d)
  trap 'rm -rf "$copy"' EXIT
  cp -R . "$copy" && chmod -R u+w "$copy" && cd "$copy" || exit 1
fi
rm -f .writable
for file in *.safetensors.gz; do
  [[ -f ${file%.gz} ]] || gunzip -k "$file"
done

failed=0
for test in *_test; do
  model=${test%_test}
  if output=$("./$test" 2>&1); then
    printf 'PASS %-12s %s\n' "$model" "$(grep -o 'largest absolute error [^ ,]*' <<<"$output" | sort -g -k 4 | tail -n 1)"
  else
    failed=$((failed + 1))
    printf 'FAIL %s\n%s\n' "$model" "$output"
  fi
done
for benchmark in *_bench; do
  "./$benchmark" || failed=$((failed + 1))
done
((failed == 0)) && echo 'all passed' || echo "$failed failed"
exit $((failed > 0))
