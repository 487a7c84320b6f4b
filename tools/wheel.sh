#!/usr/bin/env bash
# Builds the wheel that is published into dist/, with the oldest manylinux tag that auditwheel finds it to be worth.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
cd "$ROOT"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if command -v ccache >/dev/null; then
  export CMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER-ccache} CCACHE_BASEDIR=$scratch/build
fi
step 'compile the runtime and pack the wheel' 'If the compiler failed, its message is above.' \
  python -m pip wheel --no-build-isolation --no-deps "--config-settings=build-dir=$scratch/build" \
  --wheel-dir "$scratch" .
step 'name the systems that it runs on' 'auditwheel says above which symbol or library is too new.' \
  auditwheel repair --wheel-dir dist "$scratch"/aotbuild-*.whl
ls -sh dist
