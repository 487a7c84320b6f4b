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

# Keywords that say what is generated. add_aot_model takes them all and passes them on.
set(_aotbuild_generate_options VERBOSE NO_TEST BENCHMARK)
set(_aotbuild_generate_one
  MODEL NAMESPACE CLASS_NAME HEADER SYMBOL_PREFIX DEVICE RUNTIME WEIGHTS WEIGHTS_FILE PRESET OUTPUT_DIR JOB_POOL
  RTOL ATOL PYTHON_MODULE HEADER_VAR MANIFEST_VAR CONFIG TUNE TUNING_DATABASE)
set(_aotbuild_generate_multi DYNAMIC_SHAPES PARAMS CPU_ISA OPTIONS DEPENDS METHODS CUDA_ARCHITECTURES)
set_property(GLOBAL PROPERTY _AOTBUILD_GENERATE_OPTIONS "${_aotbuild_generate_options}")
set_property(GLOBAL PROPERTY _AOTBUILD_GENERATE_ONE "${_aotbuild_generate_one}")
set_property(GLOBAL PROPERTY _AOTBUILD_GENERATE_MULTI "${_aotbuild_generate_multi}")

# Sets <out_...> to the lists of keywords above.
function(_aotbuild_generate_keywords out_options out_one out_multi)
  get_property(options GLOBAL PROPERTY _AOTBUILD_GENERATE_OPTIONS)
  get_property(one GLOBAL PROPERTY _AOTBUILD_GENERATE_ONE)
  get_property(multi GLOBAL PROPERTY _AOTBUILD_GENERATE_MULTI)
  set(${out_options} "${options}" PARENT_SCOPE)
  set(${out_one} "${one}" PARENT_SCOPE)
  set(${out_multi} "${multi}" PARENT_SCOPE)
endfunction()

# Splits MODEL into <out_file> ("" for a module) and <out_argument>, what the generator gets. Problems go to the caller.
function(_aotbuild_check_model prefix out_file out_argument)
  set(model "${${prefix}_MODEL}")
  set(file "")
  set(callable "")
  if(model STREQUAL "")
    if(NOT "MODEL" IN_LIST ${prefix}_KEYWORDS)
      _aotbuild_problem("MODEL is missing; write MODEL file.py:callable, package.module:callable or file.pt2")
    endif()
  elseif(model MATCHES "^(.+\\.py):([A-Za-z_][A-Za-z0-9_.]*)$")
    set(file "${CMAKE_MATCH_1}")
    set(callable ":${CMAKE_MATCH_2}")
  elseif(model MATCHES "^.+\\.pt2$")
    set(file "${model}")
    foreach(keyword IN ITEMS PARAMS DYNAMIC_SHAPES METHODS)
      if(keyword IN_LIST ${prefix}_KEYWORDS)
        _aotbuild_problem("${keyword} needs a callable, and \"${model}\" is exported already; leave it out")
      endif()
    endforeach()
  elseif(model MATCHES "\\.py$")
    _aotbuild_problem("MODEL \"${model}\" names no callable; write ${model}:callable")
  elseif(NOT model MATCHES "^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$")
    _aotbuild_problem("MODEL \"${model}\" is not file.py:callable, package.module:callable or file.pt2")
  endif()
  set(argument "${model}")
  if(NOT file STREQUAL "")
    cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE OUTPUT_VARIABLE path)
    set(argument "${path}${callable}")
    _aotbuild_check_exists(${prefix} MODEL "${model}" "${path}")
    set(file "${path}")
  endif()
  set(${out_file} "${file}" PARENT_SCOPE)
  set(${out_argument} "${argument}" PARENT_SCOPE)
  set(problems "${problems}" PARENT_SCOPE)
endfunction()

# Checks that the file of a keyword exists, or that the build makes it. Problems go to the caller.
function(_aotbuild_check_exists prefix keyword value path)
  set(made "")
  foreach(dependency IN LISTS ${prefix}_DEPENDS)
    cmake_path(ABSOLUTE_PATH dependency BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE)
    list(APPEND made "${dependency}")
  endforeach()
  if(IS_DIRECTORY "${path}")
    _aotbuild_problem("${keyword} \"${value}\": ${path} is a folder; name a file")
  elseif(NOT EXISTS "${path}" AND NOT path IN_LIST made)
    _aotbuild_problem("${keyword} \"${value}\": the file ${path} does not exist; if the build makes it, name it in DEPENDS")
  endif()
  set(problems "${problems}" PARENT_SCOPE)
endfunction()

# The same of a keyword whose whole value is a file, relative to the current source folder.
function(_aotbuild_check_file prefix keyword)
  set(value "${${prefix}_${keyword}}")
  if(NOT value STREQUAL "")
    cmake_path(ABSOLUTE_PATH value BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE OUTPUT_VARIABLE path)
    _aotbuild_check_exists(${prefix} ${keyword} "${value}" "${path}")
  endif()
  set(problems "${problems}" PARENT_SCOPE)
endfunction()

# Checks a target's name. Problems go to the caller.
function(_aotbuild_check_target_name target)
  if(target STREQUAL "")  # a problem of its own
  elseif(NOT target MATCHES "^[A-Za-z_][A-Za-z0-9_.+-]*$")
    _aotbuild_problem("\"${target}\" is no target name that files can be named after; use letters, digits and _ . + -")
  elseif(TARGET ${target}.generate)
    _aotbuild_problem("a model named \"${target}\" already exists in this build; choose another name")
  endif()
  set(problems "${problems}" PARENT_SCOPE)
endfunction()

# Checks the keywords that name the C++ surface. Problems go to the caller.
function(_aotbuild_check_cpp_names target prefix)
  set(identifier "^[A-Za-z_][A-Za-z0-9_]*$")
  _aotbuild_check_match(${prefix} NAMESPACE "^[A-Za-z_][A-Za-z0-9_]*(::[A-Za-z_][A-Za-z0-9_]*)*$"
    "a C++ namespace such as a::b")
  _aotbuild_check_match(${prefix} CLASS_NAME "${identifier}" "a C++ identifier (the namespace goes into NAMESPACE)")
  _aotbuild_check_match(${prefix} SYMBOL_PREFIX "${identifier}" "a C identifier")
  _aotbuild_check_match(${prefix} HEADER "^[^/].*\\.(h|hh|hpp|hxx)$" "a relative path that ends in .h, .hh, .hpp or .hxx")
  if("/${${prefix}_HEADER}/" MATCHES "/\\.\\.?/")
    _aotbuild_problem("HEADER \"${${prefix}_HEADER}\" leaves the include folder; write it without . and ..")
  elseif("${${prefix}_HEADER}" STREQUAL "${target}.h")
    _aotbuild_problem("HEADER \"${target}.h\" is the name of the generated C header; use ${target}.hpp")
  endif()
  set(problems "${problems}" PARENT_SCOPE)
endfunction()

# Checks OUTPUT_DIR, which has to be the target's own. Problems go to the caller.
function(_aotbuild_check_output_dir prefix)
  set(output_dir "${${prefix}_OUTPUT_DIR}")
  if(NOT output_dir STREQUAL "")
    cmake_path(ABSOLUTE_PATH output_dir BASE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}" NORMALIZE)
    get_property(owner GLOBAL PROPERTY "_AOTBUILD_OWNER_${output_dir}")
    if(owner)
      _aotbuild_problem("OUTPUT_DIR ${output_dir} is the one of \"${owner}\"; name another folder")
    endif()
  endif()
  set(problems "${problems}" PARENT_SCOPE)
endfunction()

# Checks every value that concerns generation. Problems go to the caller.
function(_aotbuild_check_generate target prefix)
  _aotbuild_check_target_name("${target}")
  _aotbuild_check_methods(${prefix})
  _aotbuild_check_choice(${prefix} DEVICE cpu cuda)
  if("${${prefix}_DEVICE}" STREQUAL "cuda")
    _aotbuild_check_cuda(${prefix})
    if("CPU_ISA" IN_LIST ${prefix}_KEYWORDS)
      _aotbuild_problem("CPU_ISA is for DEVICE cpu; leave it out")
    endif()
  else()
    _aotbuild_check_isas(${prefix})
    if("CUDA_ARCHITECTURES" IN_LIST ${prefix}_KEYWORDS)
      _aotbuild_problem("CUDA_ARCHITECTURES needs DEVICE cuda")
    endif()
  endif()
  _aotbuild_check_tune("${target}" ${prefix})
  _aotbuild_check_choice(${prefix} RUNTIME standalone torch)
  if("${${prefix}_RUNTIME}" STREQUAL "torch" AND "${${prefix}_DEVICE}" STREQUAL "cuda")
    _aotbuild_problem("RUNTIME torch with DEVICE cuda is not supported yet; use RUNTIME standalone or DEVICE cpu")
  endif()
  _aotbuild_check_choice(${prefix} WEIGHTS EMBED FILE EXTERNAL)
  if("${${prefix}_PRESET}" STREQUAL "max-performance")
    _aotbuild_problem("PRESET max-performance is gone, as it changed nothing; leave it out")
  else()
    _aotbuild_check_choice(${prefix} PRESET default debug min-size)
  endif()

  _aotbuild_check_cpp_names("${target}" ${prefix})
  _aotbuild_check_match(${prefix} PYTHON_MODULE "^[A-Za-z_][A-Za-z0-9_]*$" "a Python identifier")
  _aotbuild_check_match(${prefix} WEIGHTS_FILE "^[^/]+$" "a file name: the file lies beside the library")
  if(NOT "${${prefix}_WEIGHTS_FILE}" STREQUAL "" AND NOT "${${prefix}_WEIGHTS}" STREQUAL "FILE")
    _aotbuild_problem("WEIGHTS_FILE needs WEIGHTS FILE")
  endif()
  foreach(keyword IN ITEMS RTOL ATOL)
    _aotbuild_check_match(${prefix} ${keyword} "^([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([eE][-+]?[0-9]+)?$"
      "a number such as 1e-4")
  endforeach()
  _aotbuild_check_dynamic_shapes(${prefix})
  _aotbuild_check_pairs(${prefix} PARAMS)
  _aotbuild_check_pairs(${prefix} OPTIONS)
  _aotbuild_check_file(${prefix} CONFIG)

  _aotbuild_check_output_dir(${prefix})
  set(problems "${problems}" PARENT_SCOPE)
endfunction()

# METHODS: names that Python can have, each once. Problems go to the caller.
function(_aotbuild_check_methods prefix)
  set(seen "")
  foreach(method IN LISTS ${prefix}_METHODS)
    string(REGEX REPLACE "[^ -~]" "a" ascii "${method}")  # letters of other scripts are Python's to judge
    if(NOT ascii MATCHES "^[A-Za-z_][A-Za-z0-9_]*$")
      _aotbuild_problem("METHODS \"${method}\" is no name of a method; write letters, digits and underscores")
    elseif(method IN_LIST seen)
      _aotbuild_problem("METHODS names \"${method}\" more than once; keep one of them")
    endif()
    list(APPEND seen "${method}")
  endforeach()
  set(problems "${problems}" PARENT_SCOPE)
endfunction()

function(aotbuild_generate)
  _aotbuild_generate_keywords(options one multi)
  list(APPEND one SOURCES_VAR)
  set(arguments "${ARGV}")
  set(problems "")
  _aotbuild_take_target(options one multi)
  _aotbuild_parse(arg options one multi arguments)
  _aotbuild_check_model(arg model_file model)
  _aotbuild_check_generate("${target}" arg)
  _aotbuild_report_problems("aotbuild_generate(${target})" "${options};${one};${multi}")

  _aotbuild_require_compiler()
  _aotbuild_python()
  foreach(kind IN ITEMS STATIC SHARED)  # what the sources are linked with; built on demand
    _aotbuild_runtime(${kind} runtime)
    if(arg_RUNTIME STREQUAL "torch")
      _aotbuild_torch_runtime(${kind} "${target}" runtime)
    endif()
  endforeach()

  # Defaults.
  _aotbuild_choose_outputs(arg "${target}" dir)
  foreach(default IN ITEMS "DEVICE cpu" "RUNTIME standalone" "WEIGHTS EMBED" "PRESET default")
    string(REPLACE " " ";" default "${default}")
    list(GET default 0 keyword)
    if("${arg_${keyword}}" STREQUAL "")
      list(GET default 1 arg_${keyword})
    endif()
  endforeach()
  if(arg_DEVICE STREQUAL "cuda")
    _aotbuild_cuda_architectures(arg arg_CUDA_ARCHITECTURES)
  elseif(arg_CPU_ISA STREQUAL "")
    _aotbuild_processor(family)
    _aotbuild_isas("${family}" isas)
    list(GET isas 0 arg_CPU_ISA)
  endif()

  # The generator's command line.
  set(stamp "${dir}/${target}.stamp")
  set(depfile "${dir}/${target}.d")
  set(shards 4)
  set(custom_source_count 4)
  set(command ${aotbuild_generator} generate
    --target "${target}" --model "${model}" --output-dir "${dir}" --stamp "${stamp}" --depfile "${depfile}"
    --project-dir "${CMAKE_SOURCE_DIR}")
  string(TOLOWER "${arg_WEIGHTS}" weights)
  _aotbuild_append_names(arg command)
  foreach(entry IN LISTS arg_DYNAMIC_SHAPES)
    list(APPEND command --dynamic-shapes "${entry}")
  endforeach()
  foreach(method IN LISTS arg_METHODS)
    list(APPEND command --method "${method}")
  endforeach()
  foreach(entry IN LISTS arg_PARAMS)
    list(APPEND command --param "${entry}")
  endforeach()
  list(APPEND command --device "${arg_DEVICE}")
  foreach(isa IN LISTS arg_CPU_ISA)
    list(APPEND command --cpu-isa "${isa}")
  endforeach()
  foreach(architecture IN LISTS arg_CUDA_ARCHITECTURES)
    list(APPEND command --cuda-architecture "${architecture}")
  endforeach()
  _aotbuild_tuning_database("${target}" arg "${model_file}" database database_depends)
  if(NOT database STREQUAL "")
    list(APPEND command --tuning-database "${database}")
  endif()
  list(APPEND command --runtime "${arg_RUNTIME}" --weights "${weights}")
  if(NOT arg_WEIGHTS_FILE STREQUAL "")
    list(APPEND command --weights-file "${arg_WEIGHTS_FILE}")
  endif()
  list(APPEND command --preset "${arg_PRESET}")
  set(config_file "")
  if(NOT arg_CONFIG STREQUAL "")
    cmake_path(ABSOLUTE_PATH arg_CONFIG BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE
      OUTPUT_VARIABLE config_file)
    list(APPEND command --config "${config_file}")
  endif()
  foreach(entry IN LISTS arg_OPTIONS)
    list(APPEND command --option "${entry}")
  endforeach()
  if(NOT arg_RTOL STREQUAL "")
    list(APPEND command --rtol "${arg_RTOL}")
  endif()
  if(NOT arg_ATOL STREQUAL "")
    list(APPEND command --atol "${arg_ATOL}")
  endif()
  list(APPEND command --shards ${shards} --custom-sources ${custom_source_count})
  get_property(languages GLOBAL PROPERTY ENABLED_LANGUAGES)
  if("C" IN_LIST languages)
    list(APPEND command --c-enabled)
  endif()
  get_target_property(has_eigen ${runtime} AOTBUILD_EIGEN)
  if(NOT has_eigen)
    list(APPEND command --no-eigen)
  endif()
  if(NOT arg_PYTHON_MODULE STREQUAL "")
    list(APPEND command --python-module "${arg_PYTHON_MODULE}")
  endif()
  foreach(flag IN ITEMS NO_TEST BENCHMARK VERBOSE)
    if(arg_${flag})
      string(TOLOWER "--${flag}" option)
      string(REPLACE "_" "-" option "${option}")
      list(APPEND command "${option}")
    endif()
  endforeach()

  # What it writes.
  set(header "${dir}/include/${arg_HEADER}")
  set(manifest "${dir}/${target}.manifest.json")
  set(api_source "${dir}/src/${target}_api.cpp")
  set(plain_sources "${dir}/src/${target}.cpp")
  set(weights_source "${dir}/src/${target}_weights.cpp")
  set(weights_blob "")
  set(weights_file "")
  if(NOT arg_WEIGHTS STREQUAL "FILE")  # with EXTERNAL weights it holds the model's constants
    set(weights_blob "${dir}/${target}.weights.bin")
  else()
    set(weights_file "${dir}/${target}.safetensors")
    if(NOT arg_WEIGHTS_FILE STREQUAL "")
      set(weights_file "${dir}/${arg_WEIGHTS_FILE}")
    endif()
  endif()
  set(test_source "")
  set(golden "")
  if(NOT arg_NO_TEST)
    set(test_source "${dir}/test/${target}_test.cpp")
    set(golden "${dir}/test/${target}.golden.safetensors")
  endif()
  set(benchmark_source "")
  if(arg_BENCHMARK)
    set(benchmark_source "${dir}/test/${target}_benchmark.cpp")
  endif()
  set(python_source "")
  set(python_stub "")
  if(NOT arg_PYTHON_MODULE STREQUAL "")
    set(python_source "${dir}/python/${arg_PYTHON_MODULE}.cpp")
    set(python_stub "${dir}/python/${arg_PYTHON_MODULE}.pyi")
  endif()

  set(kernel_sources "")
  set(kernel_headers "")
  set(stems "${target}")  # what the files of a function begin with: the methods', or the model's one
  if(NOT arg_METHODS STREQUAL "")
    list(TRANSFORM arg_METHODS PREPEND "${target}." OUTPUT_VARIABLE stems)
  endif()
  foreach(isa IN LISTS arg_CPU_ISA)
    string(REGEX REPLACE "[-.]" "_" suffix "${isa}")
    set(isa_sources "")
    foreach(stem IN LISTS stems)
      list(APPEND isa_sources "${dir}/src/${stem}_run_${suffix}.cpp")
      math(EXPR last_shard "${shards} - 1")
      foreach(shard RANGE ${last_shard})
        list(APPEND isa_sources "${dir}/src/${stem}_kernels_${suffix}_${shard}.cpp")
      endforeach()
      list(APPEND kernel_headers "${dir}/src/${stem}_kernels_${suffix}.hpp")
    endforeach()
    list(APPEND kernel_sources ${isa_sources})
    _aotbuild_set_kernel_properties("${isa}" "${arg_PRESET}" "${isa_sources}")
  endforeach()
  set(custom_sources "")
  if(NOT arg_CUDA_ARCHITECTURES)
    foreach(index RANGE 1 ${custom_source_count})
      math(EXPR index "${index} - 1")
      list(APPEND custom_sources "${dir}/src/${target}_custom_${index}.cpp")
    endforeach()
    list(APPEND custom_sources "${dir}/src/${target}_custom_${custom_source_count}.c")
    _aotbuild_set_custom_properties("${arg_RUNTIME}" "${custom_sources}")
  endif()
  set(images "")
  set(kernels_description "")
  if(arg_CUDA_ARCHITECTURES)
    set(kernels_description "${dir}/${target}.kernels.json")
  endif()
  foreach(architecture IN LISTS arg_CUDA_ARCHITECTURES)
    _aotbuild_cuda_suffix("${architecture}" suffix)
    foreach(stem IN LISTS stems)
      set(run_source "${dir}/src/${stem}_run_${suffix}.cpp")
      set(image_source "${dir}/src/${stem}_images_${suffix}.cpp")
      set(image "${dir}/${stem}.images_${suffix}.bin")
      list(APPEND kernel_headers "${dir}/src/${stem}_kernels_${suffix}.hpp")
      list(APPEND kernel_sources "${run_source}" "${image_source}")
      list(APPEND images "${image}")
      _aotbuild_set_launch_properties("${run_source}")
      _aotbuild_set_binary_properties("${image_source}" "${image}")
    endforeach()
  endforeach()
  set(generated
    "${header}" "${dir}/include/${target}.h" ${plain_sources} "${api_source}" ${kernel_sources} ${kernel_headers}
    ${custom_sources}
    ${images} ${kernels_description} "${weights_source}" ${weights_blob} ${weights_file} "${manifest}" ${test_source} ${golden} ${benchmark_source}
    ${python_source} ${python_stub})
  set(depends ${model_file} ${config_file} ${database_depends} ${arg_DEPENDS})
  _aotbuild_add_generator("${target}" "${arg_MODEL}" "${dir}" "${arg_JOB_POOL}" command depends generated)
  if(NOT database STREQUAL "")
    _aotbuild_add_tune("${target}" bundle "target|model|method|dynamic-shapes|param|preset|config|option" "${database}"
                       "${dir}" command "${arg_CUDA_ARCHITECTURES}")
  endif()

  _aotbuild_set_plain_properties(${plain_sources} "${weights_source}" "${api_source}")
  if(NOT weights_blob STREQUAL "")
    _aotbuild_set_binary_properties("${weights_source}" "${weights_blob}")
  endif()

  set_target_properties(${target}.generate PROPERTIES
    AOTBUILD_OUTPUT_DIR "${dir}"
    AOTBUILD_HEADER "${header}"
    AOTBUILD_HEADER_DIR "${dir}/include"
    AOTBUILD_MANIFEST "${manifest}"
    AOTBUILD_WEIGHTS "${arg_WEIGHTS}"
    AOTBUILD_WEIGHTS_FILE "${weights_file}"
    AOTBUILD_RUNTIME "${arg_RUNTIME}"
    AOTBUILD_TORCH_VERSION "${aotbuild_torch_version}"
    AOTBUILD_CPU_ISA "${arg_CPU_ISA}"
    AOTBUILD_CUDA_ARCHITECTURES "${arg_CUDA_ARCHITECTURES}"
    AOTBUILD_API_SOURCE "${api_source}"
    AOTBUILD_TEST_SOURCE "${test_source}"
    AOTBUILD_GOLDEN "${golden}"
    AOTBUILD_BENCHMARK_SOURCE "${benchmark_source}"
    AOTBUILD_PYTHON_MODULE "${arg_PYTHON_MODULE}"
    AOTBUILD_PYTHON_SOURCE "${python_source}"
    AOTBUILD_PYTHON_STUB "${python_stub}")

  if("C" IN_LIST languages)
    list(APPEND plain_sources ${custom_sources})
  else()
    list(FILTER custom_sources EXCLUDE REGEX "[.]c$")
    list(APPEND plain_sources ${custom_sources})
  endif()
  set(sources ${plain_sources} ${kernel_sources} "${weights_source}")
  foreach(variable IN ITEMS SOURCES HEADER MANIFEST)
    if(NOT "${arg_${variable}_VAR}" STREQUAL "")
      string(TOLOWER "${variable}" value)
      set(${arg_${variable}_VAR} "${${value}}" PARENT_SCOPE)
    endif()
  endforeach()
endfunction()

# The compile options of the sources that TorchInductor wrote, for one instruction set.
function(_aotbuild_set_kernel_properties isa preset sources)
  _aotbuild_isa_flags("${isa}" isa_flags)
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
function(_aotbuild_set_launch_properties source)
  _aotbuild_prefix_maps(maps)
  _aotbuild_own_flags(own_flags)
  set_source_files_properties("${source}" PROPERTIES
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
