#!/usr/bin/env bash
# Builds the page of examples/semantic_search with Emscripten: the folder build/page/page, which any server gives out.
# `--peer` installs onnxruntime-web below build/page too, which benchmarks/web.py compares it with.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
cd "$ROOT"

export NODE_PATH=${NODE_PATH:-/usr/share/nodejs} # where Debian has what Emscripten's Node programs use
peer=benchmarks/projects/web/package.json

step 'configure build/page' 'The message above names the file and the line of the CMake code.' \
  cmake -S examples/semantic_search -B build/page -G Ninja -DCMAKE_BUILD_TYPE=Release -Daotbuild_DIR="$ROOT/cmake" \
  -DCMAKE_TOOLCHAIN_FILE="$(em-config EMSCRIPTEN_ROOT)/cmake/Modules/Platform/Emscripten.cmake" \
  -DPython3_EXECUTABLE="$ROOT/.venv/bin/python" -DAOTBUILD_PYTHON="$ROOT/.venv/bin/python"
step 'build (export, lower, compile, link)' 'To see the commands, run: cmake --build build/page --verbose' \
  cmake --build build/page
if [[ ${1:-} == --peer ]] && ! cmp --silent "$peer" build/page/peer/package.json; then
  mkdir -p build/page/peer
  step 'onnxruntime-web' 'Package tools need a package index; run the same command again when it can be reached.' \
    npm install --prefix build/page/peer --no-package-lock --no-audit --no-fund --ignore-scripts \
    "onnxruntime-web@$(sed -n 's/.*"onnxruntime-web": "\(.*\)".*/\1/p' "$peer")"
  cp "$peer" build/page/peer/package.json
fi
echo 'the page: python -m http.server --directory build/page/page'
