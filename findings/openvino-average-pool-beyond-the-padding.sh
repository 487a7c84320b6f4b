#!/usr/bin/env bash
# One would guess: AveragePool with ceil_mode=1 and count_include_pad=1 divides by the elements of the window that lie in
# the padded input, as ONNX's reference, ONNX Runtime and PyTorch do: the part of the last window that hangs over the
# padding does not count.
# True (OpenVINO 2026.4.1, CPU): it divides by the whole kernel, so the last value of a row comes out too small.
# Seen: kernel 3, stride 2, padding 1 over (1, 2, 3, 4): ONNX Runtime (1, 3, 2), OpenVINO (1, 3, 1.3333334).
# Who meets it: networks exported from PyTorch with avg_pool(padding=..., ceil_mode=True), whose default is
# count_include_pad=True, on inputs whose last window hangs over.
# What to do: pad explicitly in the model, or use ceil_mode=False.
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


x = np.array([[[1, 2, 3, 4]]], np.float32)
content = model(
    "AveragePool", {"x": x}, kernel_shape=[3], strides=[2], pads=[1, 1], ceil_mode=1, count_include_pad=1
)
ours, theirs = (run(content, {"x": x})[0].reshape(-1).tolist() for run in (with_openvino, with_onnxruntime))
print(f"OpenVINO {ours}, ONNX Runtime {theirs}")
assert np.allclose(ours, [1, 3, 4 / 3]) and theirs == [1, 3, 2]
EOF
