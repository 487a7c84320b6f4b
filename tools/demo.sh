#!/usr/bin/env bash
# Builds examples/semantic_search through add_aot_model into build/demo, runs it on its corpus, prints the comparison table.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
cd "$ROOT"

step 'configure build/demo' 'The message above names the file and the line of the CMake code.' \
  cmake -S examples/semantic_search -B build/demo -G Ninja -DCMAKE_BUILD_TYPE=Release "-Daotbuild_DIR=$ROOT/cmake"
step 'build (export, lower, compile, link)' 'Run `cmake --build build/demo --verbose` to see the commands.' \
  cmake --build build/demo
echo
build/demo/semantic_search --corpus examples/semantic_search/corpus.txt --queries examples/semantic_search/queries.txt
echo
exec python benchmarks/demo_table.py build/demo
