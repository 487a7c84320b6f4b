#!/usr/bin/env bash
# Runs a program for Windows, with the DLLs of MinGW-w64's GCC where Windows looks for them.
set -euo pipefail
folder=$(dirname "$(x86_64-w64-mingw32-g++-posix -print-file-name=libgomp-1.dll)")
export WINEPATH="$folder;/usr/x86_64-w64-mingw32/lib" WINEDEBUG=${WINEDEBUG:--all}
exec wine "$@"
