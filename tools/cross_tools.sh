#!/usr/bin/env bash
# Installs what the test of cross-compiling to 64-bit Arm needs, on Debian for x86-64; nothing if it is there.
set -euo pipefail

packages=(g++-aarch64-linux-gnu qemu-user libsleef-dev:arm64 libgtest-dev:arm64)
libraries=/usr/lib/aarch64-linux-gnu
if command -v aarch64-linux-gnu-g++ qemu-aarch64 >/dev/null && [[ -e $libraries/libsleef.so && -e $libraries/libgtest.a ]]; then
  exit 0
fi

remedy="install the packages ${packages[*]}, or what they hold; until then the test is skipped"
# Ubuntu keeps packages for other processors in another archive, which apt does not know by itself.
if [[ $(. /etc/os-release && echo "$ID") != debian || $(dpkg --print-architecture) != amd64 ]] || ((EUID != 0)); then
  printf 'cross-tools: %s\n' "$remedy" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
dpkg --add-architecture arm64
if ! { apt-get update && apt-get install -y --no-install-recommends "${packages[@]}"; }; then
  # Without packages of it, the other architecture would make every later apt-get update fail.
  dpkg --remove-architecture arm64 || true
  apt-get update || true
  printf 'cross-tools: %s\n' "$remedy" >&2
  exit 1
fi
