#!/usr/bin/env bash
# Installs what `make reliability` needs on Debian: Clang with libFuzzer and OpenMP, libfaketime, and Atheris for Python.
# Does nothing for what is there.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

has_fuzzer() {
  command -v clang++ >/dev/null && clang++ -fsanitize=fuzzer -x c++ -o /dev/null - 2>/dev/null <<<'#include <cstddef>
    extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, std::size_t) { return 0; }'
}

packages=()
has_fuzzer || packages+=(clang "libclang-rt-$(apt-cache depends clang | sed -n 's/.*Depends: clang-//p')-dev" llvm)
echo 'int main() {}' | clang++ -fopenmp=libomp -x c++ -o /dev/null - 2>/dev/null || packages+=(libomp-dev)
command -v faketime >/dev/null || packages+=(faketime)
if ((${#packages[@]})); then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update
  apt-get install -y --no-install-recommends "${packages[@]}"
fi
"$ROOT/.venv/bin/python" -c 'import atheris' 2>/dev/null || "$ROOT/.venv/bin/python" -m pip install 'atheris==2.3.0'
