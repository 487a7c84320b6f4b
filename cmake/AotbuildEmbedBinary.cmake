#[=[.md:
## `aotbuild_embed_binary`

    aotbuild_embed_binary(<target> FILE file SYMBOL name [ALIGNMENT bytes])

Puts a file into the library or program `<target>` as read-only data, whatever its size: no source file with its bytes
is made. C and C++ code of the target gets at it by the header `<name>.h`:

    extern const unsigned char name[];  // hidden: no other library sees it
    extern const size_t name_size;

| keyword | default | meaning | refused |
|---|---|---|---|
| `<target>` | required | the library or program | anything but a target; one that compiles nothing |
| `FILE file` | required | relative to the current source folder; it may be an output of a rule of this directory | a file that neither exists nor is made by a rule of this directory; a folder; a name with quotes or backslashes |
| `SYMBOL name` | required | a C identifier, one of its kind in the program | no C identifier |
| `ALIGNMENT bytes` | 64 | a power of 2 | no power of 2, or more than 4096 |

A changed file is embedded and linked again, and nothing else is compiled.
#]=]
function(aotbuild_embed_binary)
  _aotbuild_parse(aotbuild_embed_binary "${ARGV}")
  if(target STREQUAL "")  # a problem of its own
  elseif(NOT TARGET "${target}")
    _aotbuild_problem("there is no target \"${target}\"; make it before this call")
  else()
    get_target_property(type ${target} TYPE)
    if(NOT type MATCHES "^(STATIC_LIBRARY|SHARED_LIBRARY|MODULE_LIBRARY|OBJECT_LIBRARY|EXECUTABLE)$")
      _aotbuild_problem("\"${target}\" compiles nothing (${type}); name a library or program")
    endif()
  endif()
  foreach(keyword IN ITEMS FILE SYMBOL)
    if(NOT keyword IN_LIST arg_KEYWORDS)
      _aotbuild_problem("${keyword} is missing; write FILE file SYMBOL name")
    endif()
  endforeach()
  _aotbuild_check_match(arg SYMBOL "^[A-Za-z_][A-Za-z0-9_]*$" "a C identifier")
  _aotbuild_check_match(arg ALIGNMENT "^(1|2|4|8|16|32|64|128|256|512|1024|2048|4096)$" "a power of 2 up to 4096")
  if(NOT arg_FILE STREQUAL "")
    cmake_path(ABSOLUTE_PATH arg_FILE BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE OUTPUT_VARIABLE file)
    cmake_path(ABSOLUTE_PATH arg_FILE BASE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}" NORMALIZE OUTPUT_VARIABLE made)
    get_source_file_property(generated "${made}" GENERATED)
    if(IS_DIRECTORY "${file}")
      _aotbuild_problem("FILE \"${arg_FILE}\": ${file} is a folder; name a file")
    elseif(generated)
      set(file "${made}")
    elseif(NOT EXISTS "${file}")
      _aotbuild_problem("FILE \"${arg_FILE}\": ${file} does not exist, and no rule of this directory makes it")
    endif()
    if(file MATCHES "[\"\\]")
      _aotbuild_problem("FILE \"${arg_FILE}\": the assembler takes no name with quotes or backslashes; rename it")
    endif()
  endif()
  _aotbuild_report_problems("aotbuild_embed_binary(${target})")

  _aotbuild_require_compiler()
  if(arg_ALIGNMENT STREQUAL "")
    set(arg_ALIGNMENT 64)
  endif()
  set(dir "${CMAKE_CURRENT_BINARY_DIR}/${target}.embedded")
  cmake_path(GET file FILENAME file_name)
  cmake_path(GET file PARENT_PATH file_dir)
  set(source "${dir}/${arg_SYMBOL}.cpp")
  foreach(extension IN ITEMS cpp h)
    configure_file("${CMAKE_CURRENT_FUNCTION_LIST_DIR}/private/embedded.${extension}.in"
      "${dir}/${arg_SYMBOL}.${extension}" @ONLY)
  endforeach()
  # The assembler finds the file by its name alone, so that no path gets into the object file. With -flto the linker's
  # plugin would not see what assembly defines.
  set_source_files_properties("${source}" PROPERTIES
    COMPILE_OPTIONS "-fno-lto;-Xassembler;-I${file_dir}"
    OBJECT_DEPENDS "${file}"
    SKIP_PRECOMPILE_HEADERS ON
    SKIP_UNITY_BUILD_INCLUSION ON)
  target_sources(${target} PRIVATE "${source}")
  target_include_directories(${target} PRIVATE "${dir}")
endfunction()
