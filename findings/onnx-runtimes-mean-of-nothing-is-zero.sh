#!/usr/bin/env bash
# One would guess: the mean over an axis of size 0 is NaN, as in NumPy, PyTorch and ONNX's reference evaluator.
# True: ONNX Runtime 1.32.0 and OpenVINO 2026.4.1 give 0.0, which looks like a measurement.
# Seen: ReduceMean over an empty float tensor: 0.0 from both; torch.zeros(0).mean() is nan.
# Who meets it: models with dynamic sizes of which one may be 0: no detections, an empty batch, no samples yet.
# What to do: test the size in the program before the call, or in the model.
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


empty = np.zeros((0,), np.float32)
content = model("ReduceMean", {"x": empty}, keepdims=0)
for run in (with_onnxruntime, with_openvino):
    value = run(content, {"x": empty})[0]
    print(f"{run.__name__}: {value}")
    assert value == 0.0
EOF
