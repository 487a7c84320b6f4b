#!/usr/bin/env bash
# Installs Triton Inference Server and its client below build/serve, builds the models of tests/serving, and runs
# tests/serving/check_server.py against the server on loopback. SECONDS_UNDER_LOAD: of the 64 clients, by default 60.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
cd "$ROOT"

RETRY='Package tools need a package index; run the same command again when it can be reached.'
folder=build/serve
requirements=tests/serving/requirements.txt
server=nvidia-pytriton==0.7.0 # has the server, version 2.51, and its python backend

if ! [[ -x $folder/server/pytriton/tritonserver/bin/tritonserver && -f $folder/server/$server ]]; then
  rm -rf "$folder/server"
  step "Triton Inference Server ($server)" "$RETRY" python -m pip install --no-deps --target "$folder/server" "$server"
  chmod +x "$folder/server/pytriton/tritonserver/bin/tritonserver" \
    "$folder"/server/pytriton/tritonserver/python_backend_stubs/*/triton_python_backend_stub
  touch "$folder/server/$server"
fi
if ! cmp --silent "$requirements" "$folder/client/requirements.txt"; then
  step 'client' "$RETRY" python -m venv --clear "$folder/client"
  step 'client packages' "$RETRY" "$folder/client/bin/python" -m pip install --requirement "$requirements"
  cp "$requirements" "$folder/client/requirements.txt"
fi
step 'configure the models' 'The message above names the file and the line of the CMake code.' \
  cmake -S tests/serving -B "$folder/models" -G Ninja -DCMAKE_BUILD_TYPE=Release
step 'build the models' "To see the commands, run: cmake --build $folder/models --verbose" cmake --build "$folder/models"
exec "$folder/client/bin/python" tests/serving/check_server.py --seconds "${SECONDS_UNDER_LOAD:-60}" "$@"
