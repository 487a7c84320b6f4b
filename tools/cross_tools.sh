#!/usr/bin/env bash
# Installs what tests with other compilers need, on Debian for x86-64: Clang, and the tools of 64-bit Arm.
# Does nothing for what is there.
set -euo pipefail

export DEBIAN_FRONTEND=noninteractive
missing=0

# complain <packages>: says what to do by hand.
complain() {
  printf 'cross-tools: install the packages %s, or what they hold; until then their test is skipped\n' "$*" >&2
  missing=1
}

has_clang() {
  local compiler
  for compiler in clang++ clang++-{14..30}; do
    command -v "$compiler" >/dev/null && "$compiler" -fopenmp -x c++ -o /dev/null - 2>/dev/null <<<'#include <omp.h>
      int main() { return omp_get_max_threads() < 1; }' && return
  done
  return 1
}

clang=(clang libomp-dev)
if ! has_clang && { ((EUID != 0)) || ! command -v apt-get >/dev/null ||
  ! { apt-get update && apt-get install -y --no-install-recommends "${clang[@]}"; }; }; then
  complain "${clang[@]}"
fi

arm=(g++-aarch64-linux-gnu qemu-user libsleef-dev:arm64 libgtest-dev:arm64)
libraries=/usr/lib/aarch64-linux-gnu
if command -v aarch64-linux-gnu-g++ qemu-aarch64 >/dev/null && [[ -e $libraries/libsleef.so && -e $libraries/libgtest.a ]]; then
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
