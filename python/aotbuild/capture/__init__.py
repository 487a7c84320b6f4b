"""Capture: from a model file to one ``torch.export`` program, the signature of its C++ surface, and golden cases."""

from aotbuild.capture.checks import forms as check_forms
from aotbuild.capture.checks import texts_of as check_texts
from aotbuild.capture.export import export_program
from aotbuild.capture.frames import division_place, is_project_file, model_frame, node_numbers, node_places, user_frame
from aotbuild.capture.golden import tensor_data
from aotbuild.capture.load import Source, load_named, load_source
from aotbuild.capture.modules import as_module
from aotbuild.capture.program import Captured, capture, capture_methods
from aotbuild.capture.quantize import cost as quantization_cost
from aotbuild.capture.quantize import quantized_source
from aotbuild.capture.ranks import process_group, refuse_collectives
from aotbuild.capture.signature import NUMBER_DTYPES, refuse_types_of_torch
from aotbuild.capture.writes import written_buffers
from aotbuild.spec.dynamic import DynamicDim, parse_dynamic_shapes

__all__ = [
    "NUMBER_DTYPES",
    "Captured",
    "DynamicDim",
    "Source",
    "as_module",
    "capture",
    "capture_methods",
    "check_forms",
    "check_texts",
    "division_place",
    "export_program",
    "is_project_file",
    "load_named",
    "load_source",
    "model_frame",
    "node_numbers",
    "node_places",
    "parse_dynamic_shapes",
    "process_group",
    "quantization_cost",
    "quantized_source",
    "refuse_collectives",
    "refuse_types_of_torch",
    "tensor_data",
    "user_frame",
    "written_buffers",
]
