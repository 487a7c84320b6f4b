#!/usr/bin/env bash
# One would guess: safetensors.numpy.save writes the values that an array shows, or refuses what it can't: the PyTorch
# binding raises "You are trying to save a non contiguous tensor".
# True (safetensors 0.8.0): the NumPy binding writes the array's memory from its first element on, whatever its strides,
# under the array's shape. A transposed or sliced array is saved with wrong values, without an error.
# Seen: the transpose of ((0, 1, 2), (3, 4, 5)) comes back as ((0, 1), (2, 3), (4, 5)).
# Who meets it: converters that transpose weights (TensorFlow or Flax to PyTorch, Conv1D to Linear) and save with NumPy.
# What to do: numpy.ascontiguousarray() around every array that is given to safetensors.numpy; compare after loading.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 safetensors==0.8.0
"$folder/venv/bin/python" - <<'EOF'
import numpy as np
from safetensors.numpy import load, save

original = np.arange(6, dtype=np.float32).reshape(2, 3)
for name, view in (("transposed", original.T), ("every other column", original[:, ::2])):
    read = load(save({"weight": view}))["weight"]
    mended = load(save({"weight": np.ascontiguousarray(view)}))["weight"]
    print(f"{name}: wrote {view.tolist()}, read {read.tolist()}")
    assert read.shape == view.shape and not np.array_equal(read, view)
    assert np.array_equal(mended, view)
EOF
