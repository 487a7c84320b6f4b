#!/usr/bin/env bash
# Checks the recipes of examples/packages with the tools of the package managers that can be installed, below
# build/recipes.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
cd "$ROOT"

environment=build/recipes/env
requirements=examples/packages/requirements.txt
if ! cmp --silent "$requirements" "$environment/requirements.txt"; then
  step 'environment of the recipes' 'Remove the folder build/recipes and try again.' python -m venv --clear "$environment"
  step 'Conan and rattler-build' 'If the network or the package index failed, run the same command again.' \
    "$environment/bin/python" -m pip install --requirement "$requirements"
  cp "$requirements" "$environment/requirements.txt"
fi
exec "$environment/bin/python" examples/packages/check_recipes.py build/recipes
