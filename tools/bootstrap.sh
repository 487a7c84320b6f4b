#!/usr/bin/env bash
# Makes a fresh checkout ready to build and test: system packages, .venv with the pinned Python packages, aotbuild itself.
# Does nothing, in well under a second, when that was done before and nothing that it depends on has changed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
cd "$ROOT"

PYTHON=${PYTHON:-python3}
VENV=$ROOT/.venv
STAMP=$VENV/bootstrap.stamp
RETRY='If the network or the package index failed, run the same command again: what was done is kept.'

fail() {
  printf 'bootstrap: %s\n' "$1" >&2
  exit 1
}

# has_header <header>: does the C++ compiler find it?
has_header() {
  command -v "${CXX:-c++}" >/dev/null && "${CXX:-c++}" -x c++ -E -o /dev/null - <<<"#include <$1>" 2>/dev/null
}

# The Debian and Ubuntu packages that this machine lacks. Each is tested by what it is for, not by its name, so that
# a compiler or a library that was installed in another way counts.
missing_packages() {
  command -v "${CXX:-c++}" >/dev/null || echo g++
  command -v git >/dev/null || echo git
  command -v ccache >/dev/null || echo ccache
  command -v pkg-config >/dev/null || echo pkg-config
  command -v abidiff >/dev/null || echo abigail-tools
  if command -v "$PYTHON" >/dev/null; then
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    "$PYTHON" -c 'import pathlib, sysconfig; (pathlib.Path(sysconfig.get_path("include")) / "Python.h").stat()' \
      2>/dev/null || echo python3-dev
  else
    echo python3 python3-venv python3-dev
  fi
  has_header gtest/gtest.h || echo libgtest-dev
  has_header sleef.h || echo libsleef-dev
  has_header benchmark/benchmark.h || echo libbenchmark-dev
  has_header nlohmann/json.hpp || echo nlohmann-json3-dev
  has_header eigen3/Eigen/Core || has_header Eigen/Core || echo libeigen3-dev
}

# Everything that decides what ends up in .venv; the folder too, because an installed package refers to it.
fingerprint() {
  {
    printf '%s\n' "$ROOT"
    "$PYTHON" -VV
    find python -name __init__.py | sort # an editable install lists the packages
    cat constraints.txt pyproject.toml tools/bootstrap.sh cpp/python/* cpp/include/aotbuild/*.h* cpp/include/aotbuild/{detail,python}/*
  } | sha256sum
}

has_modern_cmake() {
  local version
  version=$(cmake --version 2>/dev/null | sed -n 's/^cmake version //p') && [[ -n $version ]] &&
    [[ $(printf '3.24\n%s\n' "$version" | sort -V | head -n 1) == 3.24 ]]
}

if command -v "$PYTHON" >/dev/null && [[ -f $STAMP && -x $VENV/bin/python && $(fingerprint) == "$(cat "$STAMP")" ]]; then
  exit 0
fi

if [[ $PYTHON != python3 ]] && ! command -v "$PYTHON" >/dev/null; then
  fail "there is no '$PYTHON', which PYTHON names. Leave PYTHON out or name an interpreter of Python 3.10 or later."
fi
packages=$(missing_packages | sort -u | xargs)
if [[ -n $packages ]]; then
  if ! command -v apt-get >/dev/null; then
    fail "this machine lacks what the Debian packages '$packages' hold. Install the same with your package manager."
  elif ((EUID != 0)); then
    fail "this machine lacks system packages. Install them, then run the same command again:
    sudo apt-get update && sudo apt-get install -y --no-install-recommends $packages"
  fi
  export DEBIAN_FRONTEND=noninteractive
  step 'system package lists' "$RETRY" apt-get update
  # shellcheck disable=SC2086  # a list of words
  step "system packages ($packages)" "$RETRY" apt-get install -y --no-install-recommends $packages
fi

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  fail "$PYTHON is $("$PYTHON" -V 2>&1), and aotbuild needs Python 3.10 or later. Install one and name it: make PYTHON=python3.11 ..."

if ! [[ -x $VENV/bin/python ]]; then
  step 'virtual environment .venv' 'Remove the folder .venv and try again.' "$PYTHON" -m venv "$VENV"
fi
# A failed or interrupted run must not look like a finished one.
rm -f "$STAMP"
export PATH=$VENV/bin:$PATH VIRTUAL_ENV=$VENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_PROGRESS_BAR=off
install=("$VENV/bin/python" -m pip install --constraint constraints.txt)
# The tests build a wheel of the same sources, in another folder: its objects come from ccache then, as paths below the
# folder of the build do not count.
if command -v ccache >/dev/null; then
  export CMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER-ccache} CCACHE_BASEDIR=$PWD/build/wheel
fi

tools=(scikit-build-core pybind11 ninja)
has_modern_cmake || tools+=(cmake)
step "build tools (${tools[*]})" "$RETRY" "${install[@]}" "${tools[@]}"
torch=$(sed -n 's/^torch==//p' constraints.txt)
step "Python packages (PyTorch $torch and the rest of constraints.txt; minutes the first time) and aotbuild" \
  "$RETRY If the compiler failed, its message is above." "${install[@]}" --no-build-isolation --editable '.[dev]'
fingerprint >"$STAMP"
