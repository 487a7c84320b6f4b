#[=[.md:
## `add_aot_kernel`

    add_aot_kernel(<target>
      KERNEL <file.py:function | package.module:function>
      SIGNATURE name=type|value ...
      GRID x [y [z]]
      [CONFIGS "name=value ..." ...] [EXAMPLES "name=value ..." ...]
      [CUDA_ARCHITECTURES architecture ...]
      [STATIC | SHARED | OBJECT]
      [NAMESPACE a::b] [CLASS_NAME Name] [HEADER path/x.hpp] [SYMBOL_PREFIX prefix]
      [TUNE CACHED|OFF] [TUNING_DATABASE file]
      [DEPENDS file ...] [OUTPUT_DIR dir] [JOB_POOL pool] [EXCLUDE_FROM_ALL] [VERBOSE]
      [OUTPUT_TARGETS var] [HEADER_VAR var] [MANIFEST_VAR var])

Makes the library `<target>` of a Triton kernel that was written by hand: a C++ class that launches it on the program's
stream, with the kernel's arguments by name, and the same as C functions. The kernel is compiled while building, for
every architecture and on any machine; a program with it needs NVIDIA's driver and nothing else of CUDA. See
[Triton kernels](triton-kernels.md).

    add_aot_kernel(add_scaled
      KERNEL add_scaled.py:add_scaled
      SIGNATURE x=*fp32:16 y=*fp32:16 out=*fp32:16 count=i32 scale=fp32
      GRID "cdiv(count, block)"
      CONFIGS "block=256 num_warps=4" "block=1024 num_warps=8"
      CUDA_ARCHITECTURES 80 90)

| keyword | default | meaning | refused |
|---|---|---|---|
| `KERNEL` | required | a Python file and the function in it with `@triton.jit` (relative to the current source folder), or an importable module and function. What it imports of the project is tracked | missing; of another form; a file that does not exist and that `DEPENDS` does not name; a folder; no Triton function (while building) |
| `SIGNATURE name=type ...` | required | the type of each argument: `*fp32` and the like for memory of the device, `i32`, `fp32`, `i1`, ... for numbers. `:16` after a pointer or an integer promises a multiple of 16, which makes faster code; a launch refuses others. `name=value` makes an argument a constant, as a `tl.constexpr` that is the same in every configuration; see [Values](#values) | missing; an entry of another form; a name twice; names that the function does not take, or lacks (while building) |
| `GRID x [y [z]]` | required; 1 for `y` and `z` | numbers of blocks: integer expressions over arguments and constants with `+ - * // %`, `cdiv(a, b)`, `min(a, ...)` and `max(a, ...)`, in quotation marks | missing; more than three; an expression without quotation marks; other names or operations (while building) |
| `CONFIGS "name=value ..." ...` | the list of the function's `@triton.autotune`, else Triton's defaults | values of each `tl.constexpr`, `num_warps` (4) and `num_stages` (3). The first is used for what the tuning database has no line for | an entry of another form; a name that is no `tl.constexpr`, or one without a value (while building) |
| `EXAMPLES "name=value ..." ...` | none | the arguments to tune with, one launch an entry: numbers, and for pointers how many elements there are, an expression over the integers | an entry of another form; one that lacks an argument (while building) |
| `CUDA_ARCHITECTURES`, `STATIC`, `SHARED`, `OBJECT`, `NAMESPACE`, `CLASS_NAME`, `HEADER`, `SYMBOL_PREFIX`, `DEPENDS`, `OUTPUT_DIR`, `JOB_POOL`, `EXCLUDE_FROM_ALL`, `VERBOSE`, `OUTPUT_TARGETS`, `HEADER_VAR`, `MANIFEST_VAR` | as in `add_aot_model` | as in `add_aot_model` | as in `add_aot_model` |
| `TUNE CACHED`, `TUNE OFF` | `CACHED` | as in `add_aot_model`; `<target>.tune` measures the configurations and exists with `EXAMPLES` | another value; `SEARCH` |
| `TUNING_DATABASE file` | the kernel's file with the extension `.tuning`, else `<target>.tuning` in the current source folder | as in `add_aot_model` | with `TUNE OFF` |

Targets besides the library: `<target>.generate`, `<target>.explain` and, with `EXAMPLES`, `<target>.tune`.
`aotbuild_install` installs kernels as it does models.
#]=]
function(add_aot_kernel)
  set(options STATIC SHARED OBJECT EXCLUDE_FROM_ALL VERBOSE)
  set(one
    KERNEL NAMESPACE CLASS_NAME HEADER SYMBOL_PREFIX TUNE TUNING_DATABASE OUTPUT_DIR JOB_POOL OUTPUT_TARGETS HEADER_VAR
    MANIFEST_VAR)
  set(multi SIGNATURE GRID CONFIGS EXAMPLES CUDA_ARCHITECTURES DEPENDS)
  set(arguments "${ARGV}")
  set(problems "")
  _aotbuild_take_target(options one multi)
  _aotbuild_parse(arg options one multi arguments)
  _aotbuild_check_kernel(arg kernel_file kernel)
  _aotbuild_check_target_name("${target}")
  set(arg_DEVICE cuda)
  _aotbuild_check_cuda(arg)
  _aotbuild_check_tune("${target}" arg)
  _aotbuild_check_cpp_names("${target}" arg)
  _aotbuild_check_output_dir(arg)
  _aotbuild_library_kind(arg kind)
  if(TARGET "${target}")
    _aotbuild_problem("a target named \"${target}\" already exists; choose another name")
  endif()
  _aotbuild_report_problems("add_aot_kernel(${target})" "${options};${one};${multi}")

  _aotbuild_require_compiler()
  _aotbuild_python()
  _aotbuild_choose_outputs(arg "${target}" dir)
  _aotbuild_cuda_architectures(arg architectures)

  # The generator's command line.
  set(command ${aotbuild_generator} kernel
    --target "${target}" --kernel "${kernel}" --output-dir "${dir}" --stamp "${dir}/${target}.stamp"
    --depfile "${dir}/${target}.d")
  _aotbuild_append_names(arg command)
  foreach(flag IN ITEMS SIGNATURE=signature GRID=grid CONFIGS=configuration EXAMPLES=example)
    string(REGEX MATCH "^[A-Z]+" keyword "${flag}")
    string(REGEX MATCH "[a-z]+$" option "${flag}")
    foreach(entry IN LISTS arg_${keyword})
      list(APPEND command "--${option}=${entry}")  # an expression may begin with -
    endforeach()
  endforeach()
  foreach(architecture IN LISTS architectures)
    list(APPEND command --cuda-architecture "${architecture}")
  endforeach()
  _aotbuild_tuning_database("${target}" arg "${kernel_file}" database database_depends)
  if(NOT database STREQUAL "")
    list(APPEND command --tuning-database "${database}")
  endif()
  if(arg_VERBOSE)
    list(APPEND command --verbose)
  endif()

  # What it writes.
  set(header "${dir}/include/${arg_HEADER}")
  set(manifest "${dir}/${target}.manifest.json")
  set(sources "${dir}/src/${target}.cpp")
  set(image_sources "")
  set(images "")
  foreach(architecture IN LISTS architectures)
    _aotbuild_cuda_suffix("${architecture}" suffix)
    set(image_source "${dir}/src/${target}_images_${suffix}.cpp")
    set(image "${dir}/${target}.images_${suffix}.bin")
    list(APPEND sources "${dir}/src/${target}_${suffix}.cpp")
    list(APPEND image_sources "${image_source}")
    list(APPEND images "${image}")
    _aotbuild_set_binary_properties("${image_source}" "${image}")
  endforeach()
  _aotbuild_set_plain_properties(${sources})
  set(generated
    "${header}" "${dir}/include/${target}.h" ${sources} ${image_sources} ${images} "${dir}/${target}.kernels.json"
    "${manifest}")
  set(depends ${kernel_file} ${database_depends} ${arg_DEPENDS})
  _aotbuild_add_generator("${target}" "${arg_KERNEL}" "${dir}" "${arg_JOB_POOL}" command depends generated)
  if(NOT database STREQUAL "" AND NOT "${arg_EXAMPLES}" STREQUAL "")
    _aotbuild_add_tune("${target}" bundle-kernel "target|kernel|(signature|grid|configuration|example)=.*" "${database}"
                       "${dir}" command "${architectures}")
  endif()
  set_target_properties(${target}.generate PROPERTIES
    AOTBUILD_OUTPUT_DIR "${dir}"
    AOTBUILD_HEADER "${header}"
    AOTBUILD_HEADER_DIR "${dir}/include"
    AOTBUILD_MANIFEST "${manifest}"
    AOTBUILD_CUDA_ARCHITECTURES "${architectures}")

  # The library.
  _aotbuild_runtime(${kind} runtime)
  list(APPEND sources ${image_sources})
  _aotbuild_add_library(${target} ${kind} "${arg_EXCLUDE_FROM_ALL}" sources ${runtime} "")

  set(targets ${target} ${runtime})
  _aotbuild_set_results()
endfunction()

# Splits KERNEL into <out_file> ("" for a module) and <out_argument>, what the generator gets, and checks what describes
# the kernel. Problems go to the caller.
function(_aotbuild_check_kernel prefix out_file out_argument)
  set(kernel "${${prefix}_KERNEL}")
  set(file "")
  set(argument "${kernel}")
  if(kernel MATCHES "^(.+\\.py):([A-Za-z_][A-Za-z0-9_.]*)$")
    set(path "${CMAKE_MATCH_1}")
    set(function "${CMAKE_MATCH_2}")
    cmake_path(ABSOLUTE_PATH path BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE OUTPUT_VARIABLE file)
    set(argument "${file}:${function}")
    _aotbuild_check_exists(${prefix} KERNEL "${kernel}" "${file}")
  elseif(kernel MATCHES "\\.py$")
    _aotbuild_problem("KERNEL \"${kernel}\" names no function; write ${kernel}:function")
  elseif(NOT kernel STREQUAL "" AND NOT kernel MATCHES "^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$")
    _aotbuild_problem("KERNEL \"${kernel}\" is not file.py:function or package.module:function")
  endif()
  foreach(form IN ITEMS "KERNEL file.py:function" "SIGNATURE x=*fp32 count=i32" "GRID \"cdiv(count, block)\"")
    string(REGEX MATCH "^[A-Z]+" keyword "${form}")
    if(NOT keyword IN_LIST ${prefix}_KEYWORDS)
      _aotbuild_problem("${keyword} is missing; write it as in ${form}")
    endif()
  endforeach()

  _aotbuild_check_pairs(${prefix} SIGNATURE)
  list(LENGTH ${prefix}_GRID sizes)
  if("(" IN_LIST ${prefix}_GRID OR ")" IN_LIST ${prefix}_GRID)
    _aotbuild_problem("GRID has a parenthesis outside quotation marks, which CMake takes apart; write each size in "
                      "quotation marks, as in GRID \"cdiv(count, block)\"")
  elseif(sizes GREATER 3)
    _aotbuild_problem("GRID has ${sizes} sizes, and CUDA has x, y and z; write an expression with blanks in quotation marks")
  endif()
  set(setting "[A-Za-z_][A-Za-z0-9_]*=[^ =]+")
  foreach(keyword IN ITEMS CONFIGS EXAMPLES)
    foreach(entry IN LISTS ${prefix}_${keyword})
      if(NOT entry MATCHES "^ *${setting}( +${setting})* *$")
        _aotbuild_problem("${keyword} \"${entry}\" is not \"name=value name=value ...\", without blanks in a value")
      endif()
    endforeach()
  endforeach()
  set(${out_file} "${file}" PARENT_SCOPE)
  set(${out_argument} "${argument}" PARENT_SCOPE)
  set(problems "${problems}" PARENT_SCOPE)
endfunction()
