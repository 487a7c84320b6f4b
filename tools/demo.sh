#!/usr/bin/env bash
# Builds examples/semantic_search through add_aot_model into build/demo, runs it on its corpus, prints the comparison table.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
cd "$ROOT"

example=examples/semantic_search
corpus=$example/corpus.txt
# Shared, so that the comparison below runs the very library that the program runs.
step 'configure build/demo' 'The message above names the file and the line of the CMake code.' \
  cmake -S "$example" -B build/demo -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON
step 'build (export, lower, compile, link)' 'To see the commands, run: cmake --build build/demo --verbose' \
  cmake --build build/demo
step 'the tests of the model and of the tokenizer' 'To see more, run: ctest --test-dir build/demo --output-on-failure' \
  ctest --test-dir build/demo --output-on-failure --no-tests=error
echo
build/demo/semantic_search --corpus "$corpus" --queries "$example/queries.txt"
echo
export TQDM_DISABLE=1  # no progress bars between the lines of the table
exec python benchmarks/demo_table.py build/demo/semantic_search build/demo/libencoder.so "$example/encoder.py:build" \
  -- --corpus "$corpus" --query "$(head -n 1 "$example/queries.txt")"
