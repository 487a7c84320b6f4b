#!/usr/bin/env bash
# Writes build/gpu-tests: golden tests and benchmarks of CUDA models that run on any machine with an NVIDIA driver.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
cd "$ROOT"

architectures=${1:-90}
build=build/gpu-tests-build
package=build/gpu-tests
limit=64 # MB

step "configure $build" 'The message above names the file and the line of the CMake code.' \
  cmake -S tests/gpu -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release "-DCMAKE_CUDA_ARCHITECTURES=$architectures" \
  -Daotbuild_DIR="$ROOT/cmake" -DAOTBUILD_PYTHON="$(command -v python)" \
  -DAOTBUILD_EIGEN=OFF
step 'build (export, lower, compile kernels, link)' "To see the commands, run: cmake --build $build --verbose" \
  cmake --build "$build"

assemble() {
  rm -rf "$package"
  mkdir -p "$package"
  cp tests/gpu/run.sh "$package"
  local program
  for program in "$build"/programs/*_test "$build"/programs/*_bench "$build"/programs/libkernel_timer.so; do
    strip -o "$package/${program##*/}" "$program"
  done
  # Everything but the C library, which is every machine's own.
  local library
  ldd "$build"/programs/*_{test,bench} | awk '$3 ~ /^\// { print $3 }' | sort -u |
    grep -vE '/(libc|libm|libdl|libpthread|librt)\.so' | while read -r library; do
    strip --strip-unneeded -o "$package/${library##*/}" "$library"
  done
  local data
  for data in "$build"/*.aotbuild/*.safetensors "$build"/*.aotbuild/test/*.golden.safetensors; do
    xz -6 -T 1 -c "$data" >"$package/${data##*/}.xz"
  done
  cp "$build"/programs/*.tokens "$package"
}
step "assemble $package" 'The log above names the file.' assemble

size=$(du -sm --apparent-size "$package" | cut -f 1)
echo "$package: $size MB; copy it to a machine with an NVIDIA driver and run run.sh"
if ((size > limit)); then
  echo "the package is larger than $limit MB" >&2
  exit 1
fi
