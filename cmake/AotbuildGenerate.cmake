#[=[.md:
## `aotbuild_generate`

    aotbuild_generate(<target> MODEL <model> [<keywords of add_aot_model that say what is generated>...]
      [SOURCES_VAR var] [HEADER_VAR var] [MANIFEST_VAR var])

Runs the generator while building: captures and compiles the model and writes C++ sources, the typed header, the
weights and the manifest. It makes no library. Use it when `add_aot_model` does not give the library that you need:

    aotbuild_generate(encoder MODEL encoder.py:build SOURCES_VAR sources)
    get_target_property(header_dir encoder.generate AOTBUILD_HEADER_DIR)
    add_library(encoder STATIC ${sources})
    target_include_directories(encoder PUBLIC $<BUILD_INTERFACE:${header_dir}>)
    target_link_libraries(encoder PUBLIC aotbuild::runtime PRIVATE aotbuild::sleef aotbuild::openmp)
    add_dependencies(encoder encoder.generate)

| keyword | default | meaning | refused |
|---|---|---|---|
| `MODEL`, `NAMESPACE`, `CLASS_NAME`, `HEADER`, `SYMBOL_PREFIX`, `METHODS`, `DYNAMIC_SHAPES`, `PARAMS`, `DEVICE`, `CPU_ISA`, `CUDA_ARCHITECTURES`, `TUNE`, `TUNING_DATABASE`, `RUNTIME`, `PRECISION`, `QUANTIZE`, `WEIGHTS`, `WEIGHTS_FILE`, `WEIGHTS_SHA256`, `WORLD_SIZE`, `PRESET`, `CONFIG`, `OPTIONS`, `DEPENDS`, `OUTPUT_DIR`, `JOB_POOL`, `VERBOSE`, `NO_TEST`, `RTOL`, `ATOL`, `BENCHMARK`, `PYTHON_MODULE` | as in `add_aot_model` | as in `add_aot_model` | as in `add_aot_model` |
| `SOURCES_VAR var` | | the sources of the library, with their compile options set as source properties of this directory | more than one name |
| `HEADER_VAR var`, `MANIFEST_VAR var` | | paths of the typed header and of the manifest | more than one name |

Libraries of the sources link `aotbuild::runtime`, shared ones `aotbuild::runtime_shared`; with `RUNTIME torch`
`aotbuild::runtime_torch` and `aotbuild::runtime_torch_shared` instead.

Targets: `<target>.generate` runs the generator; `<target>.explain` prints what it would do and why, with the exact
shell command, and writes the same as JSON to `<target>.explain.json`; with `DEVICE cuda`, `<target>.tune` measures the
model's kernels and writes the tuning database, and `aotbuild_tune` does so for all models; `aotbuild_codegen` runs
every generator of the build. Under Makefiles `<target>.check` looks before each build whether the generator has to run.
`<target>.generate` carries what later helpers need as properties: `AOTBUILD_OUTPUT_DIR`, `AOTBUILD_HEADER`,
`AOTBUILD_HEADER_DIR`, `AOTBUILD_MANIFEST`, `AOTBUILD_WEIGHTS`, `AOTBUILD_WEIGHTS_FILE`, `AOTBUILD_CPU_ISA`,
`AOTBUILD_CUDA_ARCHITECTURES`, `AOTBUILD_API_SOURCE`, `AOTBUILD_TEST_SOURCE`, `AOTBUILD_GOLDEN`,
`AOTBUILD_BENCHMARK_SOURCE`, `AOTBUILD_PYTHON_MODULE`, `AOTBUILD_PYTHON_SOURCE`, `AOTBUILD_PYTHON_STUB`.

The generator runs again when the model's file, a project file that it imports, a file of `DEPENDS` or an argument
changes, and only then. It rewrites only files that differ, so that new weights recompile no kernel.
#]=]

function(aotbuild_generate)
  _aotbuild_python()
  _aotbuild_plan(aotbuild_generate "${ARGV}" statements)
  cmake_language(EVAL CODE "${statements}")
  _aotbuild_require_compiler()
  _aotbuild_generate_planned()
  _aotbuild_set_results()
endfunction()

# Adds the rule that writes a planned model, sets how its sources are compiled, and adds what the plan says of it to
# <target>.generate.
function(_aotbuild_generate_planned)
  set(kinds STATIC SHARED)
  if(EMSCRIPTEN)
    set(kinds STATIC)
  endif()
  foreach(kind IN LISTS kinds)  # what the sources are linked with; built on demand
    _aotbuild_runtime(${kind} runtime)
    if(plan_runtime STREQUAL "torch")
      _aotbuild_torch_runtime(${kind} "${plan_target}" runtime)
    endif()
  endforeach()
  get_target_property(has_eigen ${runtime} AOTBUILD_EIGEN)
  set(more "")
  if(NOT has_eigen)
    set(more --no-eigen)
  endif()
  _aotbuild_set_group_properties()
  _aotbuild_add_generator(${more})
  _aotbuild_fact(torch_version torch_version)
  set_target_properties(${plan_target}.generate PROPERTIES
    AOTBUILD_OUTPUT_DIR "${plan_output_dir}"
    AOTBUILD_HEADER "${plan_header}"
    AOTBUILD_HEADER_DIR "${plan_header_dir}"
    AOTBUILD_MANIFEST "${plan_manifest}"
    AOTBUILD_WEIGHTS "${plan_weights}"
    AOTBUILD_WEIGHTS_FILE "${plan_weights_file}"
    AOTBUILD_WORLD_SIZE "${plan_world_size}"
    AOTBUILD_RUNTIME "${plan_runtime}"
    AOTBUILD_TORCH_VERSION "${torch_version}"
    AOTBUILD_CPU_ISA "${plan_cpu_isa}"
    AOTBUILD_CUDA_ARCHITECTURES "${plan_cuda_architectures}"
    AOTBUILD_API_SOURCE "${plan_api}"
    AOTBUILD_TEST_SOURCE "${plan_test}"
    AOTBUILD_GOLDEN "${plan_golden}"
    AOTBUILD_BENCHMARK_SOURCE "${plan_benchmark}"
    AOTBUILD_PYTHON_MODULE "${plan_python_module}"
    AOTBUILD_PYTHON_SOURCE "${plan_python_source}"
    AOTBUILD_PYTHON_STUB "${plan_python_stub}")
endfunction()

function(_aotbuild_require_compiler)
  get_property(languages GLOBAL PROPERTY ENABLED_LANGUAGES)
  if(NOT "CXX" IN_LIST languages)
    message(FATAL_ERROR "aotbuild: C++ is not enabled; add CXX to the languages of project().")
  endif()
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "^(GNU|Clang|AppleClang)$")
    message(FATAL_ERROR "aotbuild: the C++ compiler ${CMAKE_CXX_COMPILER_ID} is not supported; GCC and Clang are.")
  endif()
  set(least 14)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set(least 11)
  endif()
  if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS least)
    message(FATAL_ERROR
      "aotbuild: the C++ compiler ${CMAKE_CXX_COMPILER} is ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}; "
      "GCC 11 and Clang 14 are the oldest that are supported. Set CMAKE_CXX_COMPILER to a later one.")
  endif()
endfunction()
