#!/usr/bin/env bash
# One would guess: float8_e4m3fn is one format, so converting the same float32 gives the same byte everywhere.
# True (ml_dtypes 0.6.0, onnx 1.23.2): what is beyond 464 has no number there, and libraries part ways. ml_dtypes, which
# JAX and NumPy users have, gives NaN for 465, for 1e9 and for infinity. ONNX's Cast gives 448, the greatest number, for
# all of them unless its attribute saturate is 0; it is 1 by default.
# Seen: [448, 464, 465, 1e9, inf] becomes [448, 448, nan, nan, nan] by ml_dtypes and by Cast with saturate=0, and
# [448, 448, 448, 448, 448] by Cast as it is by default.
# Who meets it: whoever quantizes weights in one library and activations, or the reference results of a test, in another.
# One outlier is a NaN that spreads over a layer in the one, and a slightly wrong number in the other.
# What to do: clamp to [-448, 448] before converting, in both; then all agree. Compare bytes of quantized weights between
# tools before comparing results of models.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 ml_dtypes==0.6.0 onnx==1.23.2
"$folder/venv/bin/python" - <<'PYTHON'
import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

values = np.array([448, 464, 465, 1e9, np.inf], np.float32)


def cast(saturate):
    nodes = [
        helper.make_node("Cast", ["x"], ["small"], to=TensorProto.FLOAT8E4M3FN, **saturate),
        helper.make_node("Cast", ["small"], ["y"], to=TensorProto.FLOAT),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [len(values)]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "casts", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    return ReferenceEvaluator(model).run(None, {"x": values})[0]


by_ml_dtypes = values.astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
by_default, unsaturated = cast({}), cast({"saturate": 0})
print(f"ml_dtypes {ml_dtypes.__version__}: {by_ml_dtypes}; onnx {onnx.__version__}: {by_default}, saturate=0: {unsaturated}")
expected = np.array([448, 448, np.nan, np.nan, np.nan], np.float32)
np.testing.assert_array_equal(by_ml_dtypes, expected)
np.testing.assert_array_equal(unsaturated, expected)
np.testing.assert_array_equal(by_default, np.full(5, 448, np.float32))
PYTHON
