#!/usr/bin/env bash
# One would guess: `with atheris.instrument_imports(include=["package"])` instruments a pure-Python package whichever way
# it was installed; the fuzzer needs its sources alone, and they are there.
# True (Atheris 2.3.0, scikit-build-core 1.0.3): of an editable install, whose modules a finder of scikit-build-core's
# loads, nothing is instrumented. Atheris warns of a "custom loader", and the fuzzer runs blind: it keeps one input,
# counts every execution, finds no new coverage and ends with status 0.
# Seen: "no interesting inputs were found so far" and a corpus of 1 after 20000 runs; with the finder taken out of
# sys.meta_path and the sources on sys.path, the same program guesses the first bytes of the magic text.
# Who meets it: who fuzzes a package with compiled parts in the environment in which it is developed. A run of a million
# executions says that nothing was found, and has tried next to nothing.
# What to do: take the finder out of sys.meta_path before instrument_imports, or install without --editable, and let a
# fuzzing run fail where the corpus does not grow.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
pip=("$folder/venv/bin/pip" --quiet --disable-pip-version-check)
"${pip[@]}" install atheris==2.3.0 scikit-build-core==1.0.3 cmake==4.1.2 ninja==1.13.0
mkdir -p "$folder/project/src/magic"
cat >"$folder/project/pyproject.toml" <<'EOF'
[build-system]
requires = ["scikit-build-core"]
build-backend = "scikit_build_core.build"
[project]
name = "magic"
version = "1"
[tool.scikit-build]
wheel.packages = ["src/magic"]
EOF
cat >"$folder/project/CMakeLists.txt" <<'EOF'
cmake_minimum_required(VERSION 3.20)
project(magic LANGUAGES NONE)
EOF
cat >"$folder/project/src/magic/__init__.py" <<'EOF'
def check(data):
    depth = 0
    for place, letter in enumerate(b"magic"):
        if len(data) <= place or data[place] != letter:
            return depth
        depth += 1
    return depth
EOF
cat >"$folder/fuzz.py" <<'EOF'
import sys

import atheris

if "--plain" in sys.argv:
    sys.argv.remove("--plain")
    sys.meta_path = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
    sys.path.insert(0, sys.argv.pop(1))
with atheris.instrument_imports(include=["magic"]):
    import magic
atheris.Setup(sys.argv, magic.check)
atheris.Fuzz()
EOF
"${pip[@]}" install --no-build-isolation --editable "$folder/project"
run() { "$folder/venv/bin/python" "$folder/fuzz.py" "$@" -runs=20000 -seed=1 2>&1 | tr '\r' '\n'; }
editable=$(run)
plain=$(run --plain "$folder/project/src")
grep -o 'no interesting inputs were found so far' <<<"$editable"
grep -E '^#20000' <<<"$editable"
grep -E '^#20000' <<<"$plain"
grep -q 'corp: 1/' <<<"$(grep -E '^#20000' <<<"$editable")"
! grep -q 'no interesting inputs' <<<"$plain"
! grep -q 'corp: 1/' <<<"$(grep -E '^#20000' <<<"$plain")"
