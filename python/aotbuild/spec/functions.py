"""The functions of the CMake interface, and their keywords."""

from __future__ import annotations

from aotbuild.spec.words import Keywords

_GENERATE = Keywords(
    ("VERBOSE", "NO_TEST", "BENCHMARK", "WEIGHTS_SHA256"),
    (
        *("MODEL", "NAMESPACE", "CLASS_NAME", "HEADER", "SYMBOL_PREFIX", "DEVICE", "RUNTIME", "WEIGHTS"),
        *(
            "WEIGHTS_FILE",
            "PRESET",
            "OUTPUT_DIR",
            "JOB_POOL",
            "RTOL",
            "ATOL",
            "PYTHON_MODULE",
            "HEADER_VAR",
            "MANIFEST_VAR",
        ),
        *("CONFIG", "TUNE", "TUNING_DATABASE", "WORLD_SIZE"),
    ),
    (
        "DYNAMIC_SHAPES",
        "PARAMS",
        "CPU_ISA",
        "OPTIONS",
        "DEPENDS",
        "METHODS",
        "CUDA_ARCHITECTURES",
        "PRECISION",
        "QUANTIZE",
    ),
)
_MODEL = Keywords(
    (*_GENERATE.flags, "STATIC", "SHARED", "OBJECT", "EXCLUDE_FROM_ALL"),
    (*_GENERATE.single, "OUTPUT_TARGETS"),
    (*_GENERATE.multiple, "TEST_LABELS"),
)
_KERNEL = Keywords(
    ("STATIC", "SHARED", "OBJECT", "EXCLUDE_FROM_ALL", "VERBOSE"),
    (
        *("KERNEL", "NAMESPACE", "CLASS_NAME", "HEADER", "SYMBOL_PREFIX", "TUNE", "TUNING_DATABASE", "OUTPUT_DIR"),
        *("JOB_POOL", "OUTPUT_TARGETS", "HEADER_VAR", "MANIFEST_VAR"),
    ),
    ("SIGNATURE", "GRID", "CONFIGS", "EXAMPLES", "CUDA_ARCHITECTURES", "DEPENDS"),
)
# What a plan is made for.
PLANNED = ("add_aot_model", "aotbuild_generate", "add_aot_kernel")
FUNCTIONS = {
    "add_aot_model": _MODEL,
    "aotbuild_generate": Keywords(_GENERATE.flags, (*_GENERATE.single, "SOURCES_VAR"), _GENERATE.multiple),
    "add_aot_kernel": _KERNEL,
    "aotbuild_add_model_test": Keywords(("EXCLUDE_FROM_ALL",), multiple=("LABELS",)),
    "aotbuild_add_model_benchmark": Keywords(("EXCLUDE_FROM_ALL",)),
    "add_aot_python_extension": Keywords(("EXCLUDE_FROM_ALL",)),
    "aotbuild_embed_binary": Keywords(single=("FILE", "SYMBOL", "ALIGNMENT")),
    "aotbuild_add_triton_model": Keywords(
        ("DYNAMIC_BATCHING", "EXCLUDE_FROM_ALL"),
        (
            *("NAME", "VERSION", "MAX_BATCH", "INSTANCES", "THREADS", "QUEUE_DELAY", "SEQUENCES", "SEQUENCE_IDLE"),
            *("LABELS", "REPOSITORY"),
        ),
        ("PREFERRED_BATCH", "GENERATE"),
    ),
    "aotbuild_add_wasm_module": Keywords(("EXCLUDE_FROM_ALL",), ("NAME",)),
    "aotbuild_install": Keywords(
        single=("PACKAGE", "NAMESPACE", "VERSION", "COMPATIBILITY", "PYTHON_PACKAGE", "COMPONENT"),
        multiple=("TARGETS",),
    ),
}
# Functions whose first word is no target.
WITHOUT_TARGET = ("aotbuild_install",)
