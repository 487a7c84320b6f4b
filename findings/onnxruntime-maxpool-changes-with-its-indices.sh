#!/usr/bin/env bash
# One would guess: the values of MaxPool are the same whether or not a node also has the output Indices.
# True (ONNX Runtime 1.32.0, CPU): without Indices a NaN in a window is skipped, and a window of -inf or NaN alone
# gives the lowest finite float; with Indices the NaN is the result, and -inf stays -inf. Without them OpenVINO 2026.4.1
# does the same; its ReduceMax over no elements gives the lowest float too, ONNX Runtime's -inf.
# Seen: windows (NaN, 1) and (-inf, -inf): without Indices (1, -3.4028235e38), with Indices (NaN, -inf).
# Who meets it: encoder-decoders that unpool with the indices in one export and drop them in another; models that mask
# with -inf, pool and then look for IsInf; whoever relies on NaN to notice broken inputs.
# What to do: compare with <= -3.4e38 instead of IsInf, and test for NaN before the pooling.
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


lowest = np.finfo(np.float32).min
x = np.array([[[np.nan, 1, -np.inf, -np.inf]]], np.float32)
pool = {"kernel_shape": [2], "strides": [2]}
alone = with_onnxruntime(model("MaxPool", {"x": x}, **pool), {"x": x})[0].reshape(-1)
both = model("MaxPool", {"x": x}, 2, types=[TensorProto.FLOAT, TensorProto.INT64], **pool)
beside = with_onnxruntime(both, {"x": x})[0].reshape(-1)
print(f"ONNX Runtime: without Indices {alone.tolist()}, with Indices {beside.tolist()}")
assert alone.tolist() == [1.0, lowest] and np.isnan(beside[0]) and beside[1] == -np.inf
ours = with_openvino(model("MaxPool", {"x": x}, **pool), {"x": x})[0].reshape(-1)
empty = np.zeros((0,), np.float32)
content = model("ReduceMax", {"x": empty}, keepdims=0)
reduced = [run(content, {"x": empty})[0].item() for run in (with_openvino, with_onnxruntime)]
print(f"OpenVINO: without Indices {ours.tolist()}; ReduceMax of nothing: {reduced[0]}, ONNX Runtime's {reduced[1]}")
assert ours.tolist() == [1.0, lowest] and reduced == [lowest, -np.inf]
EOF
