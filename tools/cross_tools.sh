#!/usr/bin/env bash
# Installs what tests with other compilers and for other systems need, on Debian for x86-64: Clang, the tools of 64-bit
# Arm, those of Windows, and Node. `--all` adds those of RISC-V, 32-bit Arm and WebAssembly, LLVM's linker and Chromium,
# for `make cross-test`, `make wasm-test`, `make windows-test` and `make page`.
# Does nothing for what is there.
set -euo pipefail

export DEBIAN_FRONTEND=noninteractive
missing=0

# complain <packages>: says what to do by hand.
complain() {
  printf 'cross-tools: install the packages %s, or what they hold; until then their test is skipped\n' "$*" >&2
  missing=1
}

# has <programs>: are all of them there? `command -v` is content with one.
has() {
  local program
  for program; do command -v "$program" >/dev/null || return; done
}

# add <packages>: installs them, or says what to do.
add() {
  if ((EUID != 0)) || ! command -v apt-get >/dev/null ||
    ! { apt-get update && apt-get install -y --no-install-recommends "$@"; }; then
    complain "$@"
  fi
}

has_clang() {
  local compiler
  for compiler in clang++ clang++-{14..30}; do
    command -v "$compiler" >/dev/null && "$compiler" -fopenmp -x c++ -o /dev/null - 2>/dev/null <<<'#include <omp.h>
      int main() { return omp_get_max_threads() < 1; }' && return
  done
  return 1
}

has_clang || add clang libomp-dev
{ has x86_64-w64-mingw32-g++-posix wine && [[ -d /usr/src/googletest ]]; } ||
  add g++-mingw-w64-x86-64-posix wine wine64 googletest
has node || add nodejs
if [[ ${1:-} == --all ]]; then
  has em++ || add emscripten
  has lld-link llvm-dlltool || add lld llvm
  has chromium || add chromium
  has riscv64-linux-gnu-g++ arm-linux-gnueabihf-g++ qemu-riscv64 qemu-arm ||
    add g++-riscv64-linux-gnu g++-arm-linux-gnueabihf qemu-user
fi

arm=(g++-aarch64-linux-gnu qemu-user libsleef-dev:arm64 libgtest-dev:arm64)
libraries=/usr/lib/aarch64-linux-gnu
if has aarch64-linux-gnu-g++ qemu-aarch64 && [[ -e $libraries/libsleef.so && -e $libraries/libgtest.a ]]; then
  exit "$missing"
fi
# Ubuntu keeps packages for other processors in another archive, which apt does not know by itself.
if [[ $(. /etc/os-release && echo "$ID") != debian || $(dpkg --print-architecture) != amd64 ]] || ((EUID != 0)); then
  complain "${arm[@]}"
  exit 1
fi
dpkg --add-architecture arm64
if ! { apt-get update && apt-get install -y --no-install-recommends "${arm[@]}"; }; then
  # Without packages of it, the other architecture would make every later apt-get update fail.
  dpkg --remove-architecture arm64 || true
  apt-get update || true
  complain "${arm[@]}"
fi
exit "$missing"
