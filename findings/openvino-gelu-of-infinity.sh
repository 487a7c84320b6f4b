#!/usr/bin/env bash
# One would guess: GELU(inf) is inf: x times the normal distribution's value, which is 1 there.
# True (OpenVINO 2026.4.1, CPU, f32): it is NaN. ONNX Runtime 1.32.0 gives inf; both give NaN for -inf, as x * 0 does.
# Seen: Gelu of (inf, 2): OpenVINO (nan, 1.9545), ONNX Runtime (inf, 1.9545).
# Who meets it: half-precision networks in which one activation overflows: an overflow that later layers would clamp or
# normalise away becomes NaN in every output that it reaches.
# What to do: clip before Gelu, or test intermediate ranges with real data.
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


x = np.array([np.inf, 2], np.float32)
content = model("Gelu", {"x": x})
ours, theirs = (run(content, {"x": x})[0].tolist() for run in (with_openvino, with_onnxruntime))
print(f"OpenVINO {ours}, ONNX Runtime {theirs}")
assert np.isnan(ours[0]) and theirs[0] == np.inf
EOF
