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
| `MODEL`, `NAMESPACE`, `CLASS_NAME`, `HEADER`, `SYMBOL_PREFIX`, `METHODS`, `DYNAMIC_SHAPES`, `PARAMS`, `DEVICE`, `CPU_ISA`, `CUDA_ARCHITECTURES`, `TUNE`, `TUNING_DATABASE`, `RUNTIME`, `WEIGHTS`, `WEIGHTS_FILE`, `PRESET`, `CONFIG`, `OPTIONS`, `DEPENDS`, `OUTPUT_DIR`, `JOB_POOL`, `VERBOSE`, `NO_TEST`, `RTOL`, `ATOL`, `BENCHMARK`, `PYTHON_MODULE` | as in `add_aot_model` | as in `add_aot_model` | as in `add_aot_model` |
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
  _aotbuild_plan(aotbuild_generate "${ARGV}" plan)
  _aotbuild_require_compiler()
  _aotbuild_generate_planned("${plan}")
  _aotbuild_read_plan("${plan}" sources header manifest)
  _aotbuild_set_results("${plan}")
endfunction()

# Adds the rule that writes a planned model, sets how its sources are compiled, and adds what the plan says of it to
# <target>.generate.
function(_aotbuild_generate_planned plan)
  _aotbuild_read_plan("${plan}"
    target output_dir header header_dir manifest api test golden benchmark python_module python_source python_stub weights
    weights_file runtime cpu_isa cuda_architectures)
  foreach(kind IN ITEMS STATIC SHARED)  # what the sources are linked with; built on demand
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
  _aotbuild_set_group_properties("${plan}")
  _aotbuild_add_generator("${plan}" ${more})
  set_target_properties(${plan_target}.generate PROPERTIES
    AOTBUILD_OUTPUT_DIR "${plan_output_dir}"
    AOTBUILD_HEADER "${plan_header}"
    AOTBUILD_HEADER_DIR "${plan_header_dir}"
    AOTBUILD_MANIFEST "${plan_manifest}"
    AOTBUILD_WEIGHTS "${plan_weights}"
    AOTBUILD_WEIGHTS_FILE "${plan_weights_file}"
    AOTBUILD_RUNTIME "${plan_runtime}"
    AOTBUILD_TORCH_VERSION "${aotbuild_torch_version}"
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

# How each group of a plan's sources is compiled.
function(_aotbuild_set_group_properties plan)
  string(JSON groups GET "${plan}" groups)
  string(JSON count LENGTH "${groups}")
  foreach(index RANGE 1 ${count})
    math(EXPR index "${index} - 1")
    string(JSON group GET "${groups}" ${index})
    _aotbuild_read_plan("${group}" kind sources)
    if(plan_kind STREQUAL "kernels")
      _aotbuild_read_plan("${group}" flags)
      _aotbuild_read_plan("${plan}" preset)
      _aotbuild_set_kernel_properties("${plan_flags}" "${plan_preset}" "${plan_sources}")
    elseif(plan_kind STREQUAL "custom")
      _aotbuild_read_plan("${plan}" runtime)
      _aotbuild_set_custom_properties("${plan_runtime}" "${plan_sources}")
    elseif(plan_kind STREQUAL "launch")
      _aotbuild_set_launch_properties("${plan_sources}")
    elseif(plan_kind STREQUAL "embed")
      _aotbuild_read_plan("${group}" embeds)
      _aotbuild_set_binary_properties("${plan_sources}" "${plan_embeds}")
    else()
      _aotbuild_set_plain_properties(${plan_sources})
    endif()
  endforeach()
endfunction()

# The compile options of the sources that TorchInductor wrote, for one instruction set.
function(_aotbuild_set_kernel_properties isa_flags preset sources)
  # After the flags of the build type, so these win: kernels are always optimised, except where PRESET says otherwise.
  if(preset STREQUAL "debug")
    set(optimisation "")
  elseif(preset STREQUAL "min-size")
    set(optimisation -Os)
  else()
    set(optimisation -O3)
  endif()
  _aotbuild_prefix_maps(maps)
  set(torch_include "")
  if(NOT aotbuild_torch_include STREQUAL "")
    set(torch_include "-isystem${aotbuild_torch_include}" "-ffile-prefix-map=${aotbuild_torch_include}=torch")
  endif()
  if(CMAKE_CROSSCOMPILING)
    # torch's include folder holds a sleef.h for the processor that builds; this one comes first.
    _aotbuild_runtime_dependencies("${aotbuild_prefix}")
    list(PREPEND torch_include -include "${AOTBUILD_SLEEF_INCLUDE_DIR}/sleef.h")
  endif()
  set(definitions TORCH_INDUCTOR_CPP_WRAPPER STANDALONE_TORCH_HEADER C10_USING_CUSTOM_GENERATED_MACROS)
  _aotbuild_processor(family)
  if(family STREQUAL "aarch64")
    list(APPEND definitions AT_BUILD_ARM_VEC256_WITH_SLEEF)  # at::vec's math functions, as in torch's own build
  endif()
  _aotbuild_own_flags(own_flags)
  set(options
    -std=c++20 ${isa_flags} ${optimisation} ${own_flags} -fno-math-errno -fno-trapping-math -w ${torch_include} ${maps})
  set_source_files_properties(${sources} PROPERTIES
    COMPILE_OPTIONS "${options}"
    COMPILE_DEFINITIONS "${definitions}"
    SKIP_PRECOMPILE_HEADERS ON
    SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# The compile options of the sources that include those of registered kernels: the project's own. The sources are named
# relative to this folder.
function(_aotbuild_set_custom_properties runtime sources)
  _aotbuild_prefix_maps(maps)
  set(definitions "")
  if(runtime STREQUAL "torch")
    set(definitions AOTBUILD_KERNELS_OF_TORCH)
  endif()
  set_source_files_properties(${sources} PROPERTIES
    COMPILE_DEFINITIONS "${definitions}"
    COMPILE_OPTIONS "-I${CMAKE_CURRENT_SOURCE_DIR};${maps};-ffile-prefix-map=${CMAKE_SOURCE_DIR}=."
    SKIP_PRECOMPILE_HEADERS ON
    SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# The compile options of a run function that launches a GPU's kernels: it needs neither torch's headers nor vectors.
function(_aotbuild_set_launch_properties sources)
  _aotbuild_prefix_maps(maps)
  _aotbuild_own_flags(own_flags)
  set_source_files_properties(${sources} PROPERTIES
    COMPILE_OPTIONS "-std=c++20;-O2;${own_flags};${maps}"
    SKIP_PRECOMPILE_HEADERS ON
    SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# The compile options of generated sources that compute nothing: the tables and functions of a library, and programs.
function(_aotbuild_set_plain_properties)
  _aotbuild_prefix_maps(maps)
  _aotbuild_own_flags(own_flags)
  set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS "${own_flags};${maps}")
endfunction()

# The compile options of a source that embeds a file, which the assembler finds by name, so that no path gets into it.
function(_aotbuild_set_binary_properties source file)
  _aotbuild_prefix_maps(maps)
  cmake_path(GET file PARENT_PATH folder)
  # With -flto the linker's plugin would not see what assembly defines; with -Wa, a comma in the path would end it.
  set_source_files_properties("${source}" PROPERTIES
    COMPILE_OPTIONS "${maps};-fno-lto;-Xassembler;-I${folder}"
    OBJECT_DEPENDS "${file}")
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
