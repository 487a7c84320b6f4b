#!/usr/bin/env bash
# One would guess: a NaN that enters a network comes out as one, or at least as no plausible number; the ONNX operators
# Relu, Clip, Max, HardSigmoid and ReduceMax pass it on in ONNX's reference and in ONNX Runtime.
# True (OpenVINO 2026.4.1, CPU, INFERENCE_PRECISION_HINT f32): Relu, Clip and Max give 0, HardSigmoid its upper bound 1,
# ReduceMax the largest of the other values. A sensor's NaN becomes a plausible result.
# Seen: Relu 0, Clip(0, 6) 0, Max(x, 0) 0, HardSigmoid 1, ReduceMax of (NaN, 1, 2) 2.
# Who meets it: whoever relies on NaN to notice broken inputs, or compares outputs with another runtime's.
# What to do: check inputs with IsNaN before the model; with OpenVINO no test of the outputs can find them.
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


x = np.array([np.nan, 1, 2], np.float32)
bounds = [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in (("low", 0.0), ("high", 6.0))]
cases = {
    "Relu": (model("Relu", {"x": x}), 0.0),
    "Clip": (model("Clip", {"x": x}, constants=bounds), 0.0),
    "Max": (model("Max", {"x": x}, constants=bounds[:1]), 0.0),
    "HardSigmoid": (model("HardSigmoid", {"x": x}), 1.0),
    "ReduceMax": (model("ReduceMax", {"x": x}, keepdims=0), 2.0),
}
for name, (content, expected) in cases.items():
    ours, theirs = (run(content, {"x": x})[0].reshape(-1)[0] for run in (with_openvino, with_onnxruntime))
    print(f"{name}: OpenVINO {ours}, ONNX Runtime {theirs}")
    assert ours == expected and np.isnan(theirs), name
EOF
