#[=[.md:
## `add_aot_model`

    add_aot_model(<target>
      MODEL <file.py:callable | package.module:callable | file.pt2>
      [STATIC | SHARED | OBJECT]
      [NAMESPACE a::b] [CLASS_NAME Name] [HEADER path/x.hpp] [SYMBOL_PREFIX prefix]
      [METHODS name ...] [DYNAMIC_SHAPES input:dim=min..[max] ...] [PARAMS key=value ...]
      [DEVICE cpu|cuda] [CPU_ISA isa ...] [CUDA_ARCHITECTURES architecture ...] [RUNTIME standalone|torch]
      [PRECISION float32|bfloat16|float16 [EXCEPT module ...]]
      [QUANTIZE int8|int4|float8 [dynamic] [EXCEPT module ...]]
      [WEIGHTS EMBED|FILE|EXTERNAL] [WEIGHTS_FILE name] [WEIGHTS_SHA256] [WORLD_SIZE n]
      [TUNE CACHED|OFF] [TUNING_DATABASE file]
      [PRESET default|debug|min-size] [CONFIG file.toml] [OPTIONS key=value ...]
      [DEPENDS file ...] [OUTPUT_DIR dir] [JOB_POOL pool] [EXCLUDE_FROM_ALL] [VERBOSE]
      [OUTPUT_TARGETS var] [HEADER_VAR var] [MANIFEST_VAR var]
      [NO_TEST] [RTOL x] [ATOL x] [TEST_LABELS label ...] [BENCHMARK] [PYTHON_MODULE name])

Makes the library `<target>` of a PyTorch model: exported and compiled by the generator while building, then compiled
and linked like any other C++ target, with the project's compiler, flags and toolchain file. Every problem of a call is
reported in one message, while configuring except where the tables say otherwise: what they call refused, and unknown,
misspelt, repeated and empty keywords.

What is captured:

| keyword | default | meaning | refused |
|---|---|---|---|
| `MODEL` | required | a Python file and the callable in it that returns the model (relative to the current source folder), an importable module and callable, or a file that `torch.export.save` wrote. What it imports of the project is tracked, and the `data_files` that it names. A file that the build itself makes has to be in `DEPENDS` | missing; of another form; a file that does not exist and that `DEPENDS` does not name; a folder |
| `METHODS name ...` | none: the module itself | the methods of the module that are compiled, each exported once, into one library over one set of weights. They share the buffers that they write, such as a decoder's cache; see [Methods and state](methods.md). The model file gives an example of each: `aotbuild.Model(module, methods={"prefill": aotbuild.Method(...)})` | no name of a method; one twice; with a `.pt2` file; a method that the model file or the module lacks (while building) |
| `DYNAMIC_SHAPES input:dim=min..max ...` | what the model file says | sizes that may vary, with their range, of which the maximum may be left out, as in `ids:1=1..`; with `METHODS` each entry begins with the method, as in `prefill.ids:1=1..512` | another form; a minimum that is not below the maximum; the same size twice; with a `.pt2` file; together with `dynamic_shapes` of the model file (while building) |
| `PARAMS key=value ...` | none | keyword arguments of the callable; see [Values](#values) | an entry that is not `key=value`; the same key twice; with a `.pt2` file |

The library and its C++ surface:

| keyword | default | meaning | refused |
|---|---|---|---|
| `STATIC`, `SHARED`, `OBJECT` | `SHARED` if `BUILD_SHARED_LIBS`, else `STATIC` | the kind of library | more than one |
| `NAMESPACE a::b` | none | C++ namespace of the class | no C++ name |
| `CLASS_NAME Name` | the target in CamelCase, as a [name](c-abi.md#names) that C++ allows | name of the class | no C++ identifier, as with `::` in it; a keyword; what the class has inside |
| `HEADER path/x.hpp` | `<target>.hpp` | what the program includes | an absolute path; `.` or `..` in it; another ending than `.h`, `.hh`, `.hpp`, `.hxx`; `<target>.h`, the C header |
| `SYMBOL_PREFIX prefix` | the target as a C identifier; after `model_` where the C library or aotbuild has such functions, as for `timer` | prefix of the C functions | no C identifier |

What it runs on:

| keyword | default | meaning | refused |
|---|---|---|---|
| `DEVICE cpu`, `DEVICE cuda` | `cpu` | `cuda`: every kernel is compiled to machine code while generating, on any machine. Neither the CUDA toolkit nor a GPU is needed to build, and only NVIDIA's driver (12.0 or later) to run: the program opens it when it creates the model | another value; `cuda` without architectures |
| `CPU_ISA isa ...` | `x86-64-v3`; on 64-bit Arm `aarch64`, on 64-bit RISC-V `riscv64`, on 32-bit Arm `armv7`, for WebAssembly `wasm32` | `x86-64-v2`, `x86-64-v3`, `x86-64-v4`, `avx2` (the same as x86-64-v3), `avx512` (the same as x86-64-v4), `aarch64`, `riscv64`, `armv7`, `wasm32` (with vectors of 128 bits), or, on x86-64 and 64-bit Arm, `native`: the machine that builds. With several, the library holds each and takes the best at load. `native` stands alone. It is declared, never probed, so that a library does not depend on the machine that built it | a name that the target processor does not have; one twice, also by two names; `native` beside others; with `DEVICE cuda` |
| `CUDA_ARCHITECTURES architecture ...` | `CMAKE_CUDA_ARCHITECTURES` | with `DEVICE cuda`: the GPUs of [this table](cuda.md#architectures), in CMake's notation: `80` for machine code; below 90 also `80-virtual`, PTX that the driver compiles for later GPUs. The library holds them all and takes the best at load. It is declared, never probed | another value, such as `native` or `all`; `-virtual` from 90 on; one twice; without `DEVICE cuda` |
| `RUNTIME standalone`, `RUNTIME torch` | `standalone` | `standalone`: the library needs nothing of PyTorch; operators that its runtime lacks are an error while building. `torch`: the same library, header and test, linked with libtorch, which has every operator, custom ones too: see [RUNTIME torch](torch-runtime.md). libtorch has to be of the version that the model is generated with: `Torch_DIR` or `CMAKE_PREFIX_PATH` says where it is, else the Python package's is taken | another value; `torch` with `DEVICE cuda`; `torch` without libtorch, or with one of another version |

Tuning of the kernels of `DEVICE cuda`, see [Tuning](tuning.md):

| keyword | default | meaning | refused |
|---|---|---|---|
| `TUNE CACHED`, `TUNE OFF` | `CACHED` | `CACHED`: kernels get the configurations that the tuning database has for them, the others what the heuristics choose. `OFF`: the heuristics choose for all. A build never searches; the target `<target>.tune` does | another value; `SEARCH`; without `DEVICE cuda` |
| `TUNING_DATABASE file` | the model's file with the extension `.tuning`, else `<target>.tuning` in the current source folder | the database, a text file to check in. It need not exist; a change of it runs the generator | with `TUNE OFF`; without `DEVICE cuda` |

Weights and compiler settings:

| keyword | default | meaning | refused |
|---|---|---|---|
| `PRECISION type [EXCEPT module ...]` | `float32` | a float32 model's layers are computed in `bfloat16` or `float16`, and their weights stored in it; inputs, outputs, state and all else stay float32, and so do layers in the modules after `EXCEPT`, by qualified names or patterns such as `decoder.*`. [What is rounded](values.md#precision). The build prints what it costs eager PyTorch on the golden inputs; the test compares with eager float32 by the tolerances of the type, and prints the library's error | another type; `EXCEPT` without a module, or with one that the model lacks (while building); with `DEVICE cuda` or `RUNTIME torch` |
| `QUANTIZE type [dynamic] [EXCEPT module ...]` | none | weights of the model's `torch.nn.Linear` layers are stored in `int8` or `float8` (e4m3) with a scale for each row, or in `int4` with one for each 64 values of a row; with `dynamic`, layers' inputs are quantized in each call too, each row by itself, and products are of 8 bits. Modules after `EXCEPT` keep their types. The build prints what it costs on the golden inputs; the test compares with the quantized layers in eager PyTorch. [Quantized models](quantized.md#quantize) | another type; `int4 dynamic`; `float8` with `DEVICE cpu`; `EXCEPT` without a module, or with one that the model lacks (while building); a model without such a layer (while building); with `RUNTIME torch`, `PRECISION` or a `.pt2` file |
| `WEIGHTS EMBED` | `EMBED` | in the library | another value; lower case |
| `WEIGHTS FILE` | | in a safetensors file, which the build keeps beside the library; static models look beside the program | |
| `WEIGHTS EXTERNAL` | | given at run time by name | |
| `WEIGHTS_FILE name` | `<target>.safetensors` | name of the file; only with `WEIGHTS FILE` | a path with folders; without `WEIGHTS FILE` |
| `WEIGHTS_SHA256` | off | the model takes the weights file of this build and no other: its SHA-256 is in the library, and each load of a file checks it ([Only these weights](weights.md#only-these-weights)) | without `WEIGHTS FILE` |
| `WORLD_SIZE n` | none: a model for one GPU | the model is one of `n` ranks, each on a GPU of its own, with the collectives of `torch.distributed._functional_collectives` in its forward. The model file is called for each rank and gives that rank's parameters; `<target>.rank0.safetensors` and so on hold them. [Several GPUs](ranks.md) | no number from 2 to 1024; `DEVICE cpu`; without `WEIGHTS FILE`; with `WEIGHTS_SHA256`, `QUANTIZE`, `BENCHMARK`, `PYTHON_MODULE` or a `.pt2` file; ranks whose graphs differ (while building) |
| `PRESET` | `default` | `debug`: kernels compiled with the project's own optimisation; `min-size`: kernels compiled for size. Otherwise kernels are compiled with `-O3` whatever `CMAKE_BUILD_TYPE` says | another value |
| `CONFIG file.toml` | none | a TOML file of TorchInductor's settings, as in `[cpp]` with `simdlen = 8`; they win over `PRESET`, and `OPTIONS` over them. A change of the file runs the generator | a file that does not exist and that `DEPENDS` does not name; a file that is not TOML (while building) |
| `OPTIONS key=value ...` | none | TorchInductor's settings, as in `cpp.simdlen=8`; they win over `PRESET` and `CONFIG`. With `DEVICE cuda` also `cuda_libraries=cublaslt`: [CUDA libraries](cuda.md#cuda-libraries), and `benchmark_epilogue_fusion=False`: [Bundles](tuning.md#bundles) | an entry that is not `key=value`; the same key twice; a name that TorchInductor does not have, a value of another type than the setting's, `cuda_libraries` with another library (while building) |

The build:

| keyword | default | meaning | refused |
|---|---|---|---|
| `DEPENDS file ...` | none | more files whose change runs the generator again. Imports of the model file are found by themselves | a file that neither exists nor is made by a rule (while building) |
| `OUTPUT_DIR dir` | `<target>.aotbuild` | where generated files go, relative to the current binary folder; one model a folder | the folder of another model |
| `JOB_POOL pool` | `aotbuild_generate` | the Ninja pool of the generator. The default one holds a job for each 4 GiB of memory, at most one a core, under Makefiles too; the variable `AOTBUILD_GENERATOR_JOBS` sets another number | a pool that is not defined by the end of the configuration |
| `EXCLUDE_FROM_ALL` | | library, test, benchmark and module are built only on demand | a value |
| `VERBOSE` | | the generator prints other packages' warnings, and Python tracebacks of errors | a value |
| `OUTPUT_TARGETS var` | | the targets that an `install(EXPORT)` of the project's own has to hold: the library and the runtime | more than one name |
| `HEADER_VAR var`, `MANIFEST_VAR var` | | paths of the header and of the manifest | more than one name |

Checks and extras:

| keyword | default | meaning | refused |
|---|---|---|---|
| `NO_TEST` | | no golden data and no test. Without it the ctest `<target>` compares the library with eager PyTorch, when the project has called `enable_testing()` or `include(CTest)` and `BUILD_TESTING` is not off | with `RTOL`, `ATOL` or `TEST_LABELS`; a value. Without it, a machine that has no GoogleTest |
| `RTOL x`, `ATOL x` | what the model file says, else [by output](#tolerances) | tolerances of the test, for every output of every method | anything but a number; with `NO_TEST` |
| `TEST_LABELS label ...` | none | labels of the ctest besides `aotbuild` | with `NO_TEST` |
| `BENCHMARK` | | the executable `<target>_benchmark` | a machine that has no Google Benchmark; a value |
| `PYTHON_MODULE name` | | the extension module `name`, a target of that name | no Python identifier; the name of a target; a Python without pybind11 |

Targets besides the library: `<target>.generate`, `<target>.explain` and `aotbuild_codegen` (see `aotbuild_generate`);
`<target>_test`, `<target>_benchmark`; `aotbuild_runtime`, one static library for all static models of the build, and
`aotbuild_runtime_shared` for all shared ones; with `RUNTIME torch` also `aotbuild_runtime_torch` or
`aotbuild_runtime_torch_shared`, the part that is compiled against libtorch. The library has the properties
`AOTBUILD_OUTPUT_DIR`, `AOTBUILD_HEADER`, `AOTBUILD_HEADER_DIR`, `AOTBUILD_MANIFEST`, `AOTBUILD_WEIGHTS`,
`AOTBUILD_WEIGHTS_FILE`, `AOTBUILD_CPU_ISA`, `AOTBUILD_CUDA_ARCHITECTURES` and `AOTBUILD_RUNTIME`.

It is the sum of `aotbuild_generate`, `add_library`, `aotbuild_add_model_test`, `aotbuild_add_model_benchmark` and
`add_aot_python_extension`; take it apart where it does not fit.
#]=]
function(add_aot_model)
  _aotbuild_python()
  _aotbuild_plan(add_aot_model "${ARGV}" statements)
  cmake_language(EVAL CODE "${statements}")
  _aotbuild_require_compiler()
  _aotbuild_generate_planned()
  set(target "${plan_target}")

  # The library.
  if(plan_kind STREQUAL "SHARED")
    list(APPEND plan_sources "${plan_api}")
  endif()
  _aotbuild_runtime(${plan_kind} runtime)
  _aotbuild_add_library("${plan_sources}" ${runtime} "WEIGHTS;WEIGHTS_FILE;CPU_ISA;RUNTIME")
  target_link_libraries(${target} PRIVATE aotbuild::sleef aotbuild::openmp)
  set(plan_output_targets ${target} ${runtime})
  if(plan_runtime STREQUAL "torch")
    _aotbuild_torch_runtime(${plan_kind} ${target} torch_runtime)
    target_link_libraries(${target} PRIVATE ${torch_runtime} INTERFACE "$<LINK_ONLY:aotbuild::torch>")
    if(NOT plan_kind STREQUAL "SHARED")
      list(APPEND plan_output_targets ${torch_runtime})
    endif()
  endif()
  _aotbuild_limit_compilations(${target})
  _aotbuild_place_weights(${target} ${target})

  # Test, benchmark and Python module.
  if(NOT plan_test STREQUAL "" AND CMAKE_TESTING_ENABLED AND (BUILD_TESTING OR NOT DEFINED BUILD_TESTING))
    _aotbuild_add_test(${target} "${plan_test_labels}" "${plan_exclude_from_all}")
  endif()
  if(NOT plan_benchmark STREQUAL "")
    _aotbuild_add_benchmark(${target} "${plan_exclude_from_all}")
  endif()
  if(NOT plan_python_module STREQUAL "")
    set(problems "")
    set(keywords EXCLUDE_FROM_ALL)
    _aotbuild_add_python_extension(${target} "${plan_exclude_from_all}")
  endif()
  _aotbuild_set_results()
endfunction()
