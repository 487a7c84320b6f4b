#!/usr/bin/env bash
# One would guess: Unique gives every value once; with NaN among the values, NaN once or once for each.
# True (ONNX Runtime 1.32.0, CPU): with a NaN first the result is that NaN alone; all other values are gone. Its ordered
# set compares NaN as equal to everything. The ONNX reference gives (0, 1, NaN), OpenVINO 2026.4.1 (NaN, 1, NaN, 0).
# Seen: Unique of (NaN, 1, NaN, 0): ONNX Runtime (NaN,), and the inverse indices say (0, 0, 0, 0).
# Who meets it: exported torch.unique or de-duplication of keys that may hold NaN; nothing is reported.
# What to do: replace NaN by a sentinel before Unique.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1
"$folder/venv/bin/python" - <<'EOF'
import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, helper


def model(operator, inputs, outputs=1, constants=(), types=None, **attributes):
    """One operator as a serialised ONNX model."""
    types = types or [TensorProto.FLOAT] * outputs
    names = [f"y{index}" for index in range(outputs)]
    node = helper.make_node(operator, [*inputs, *(c.name for c in constants)], names, **attributes)
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in inputs.items()
    ]
    taken = [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(names, types)]
    graph = helper.make_graph([node], "one", given, taken, initializer=list(constants))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return made.SerializeToString()


def with_onnxruntime(content, inputs):
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, inputs)


def with_openvino(content, inputs):
    core = openvino.Core()
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(content, b""), "CPU", hints)
    return list(compiled(list(inputs.values())).values())


x = np.array([np.nan, 1, np.nan, 0], np.float32)
content = model("Unique", {"x": x}, 3, types=[TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT64])
values, _, inverse = with_onnxruntime(content, {"x": x})
print(f"ONNX Runtime: values {values.tolist()}, inverse {inverse.tolist()}")
assert len(values) == 1 and np.isnan(values[0]) and inverse.tolist() == [0, 0, 0, 0]
others = with_openvino(content, {"x": x})[0].tolist()
print(f"OpenVINO: {others}")
assert 0.0 in others and 1.0 in others
EOF
