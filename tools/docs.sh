#!/usr/bin/env bash
# Makes the site of the documentation in build/docs/site, with MkDocs in an environment of its own.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
cd "$ROOT"

# Of MkDocs' packages, whose versions docs/requirements.txt has.
python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "make docs needs Python 3.11 or later, and .venv has $(python -V); remove .venv, and run make PYTHON=<python> docs" >&2
  exit 1
}
if ! command -v doxygen >/dev/null; then
  step 'Doxygen' 'Install it: apt-get install doxygen' apt-get install -y --no-install-recommends doxygen
fi
environment=build/docs/env
if ! cmp --silent docs/requirements.txt "$environment/requirements.txt"; then
  step 'environment of the documentation' 'Remove the folder build/docs and try again.' python -m venv --clear "$environment"
  step 'MkDocs and its theme' 'If the network or the package index failed, run the same command again.' \
    "$environment/bin/python" -m pip install --no-deps --requirement docs/requirements.txt
  cp docs/requirements.txt "$environment/requirements.txt"
fi
# Neither a message about MkDocs' successors nor colours belong in a log.
NO_MKDOCS_2_WARNING=1 NO_COLOR=1 "$environment/bin/python" docs/make_site.py
echo 'build/docs/site/index.html'
