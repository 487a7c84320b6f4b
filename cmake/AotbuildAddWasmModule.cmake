#[=[.md:
## `aotbuild_add_wasm_module`

    aotbuild_add_wasm_module(<target> [NAME name] [EXCLUDE_FROM_ALL])

Makes the static model `<target>` a module for pages and Node, with Emscripten's toolchain file: the folder
`<name>.web` of the current binary folder, with the ES module `<name>.mjs`, its types `<name>.d.mts`, both made from the
model's manifest, `<name>.core.mjs`, `<name>.core.wasm`, and with `WEIGHTS FILE` the weights, which are fetched apart:
[Platforms](platforms.md#webassembly).

    add_aot_model(encoder MODEL encoder.py:build WEIGHTS FILE)
    aotbuild_add_wasm_module(encoder)

| keyword | default | meaning | refused |
|---|---|---|---|
| `<target>` | required | a model that `add_aot_model` made `STATIC`, with `WEIGHTS EMBED` or `FILE` | anything else; a toolchain other than Emscripten's; a project compiled with `-pthread`; a type of element that JavaScript has no array for (while building) |
| `NAME name` | the target | what the files are called | a name with anything but letters, digits, `_` and `-` |
| `EXCLUDE_FROM_ALL` | | the target `<target>.wasm` is built only on demand | a value |

Targets: `<target>.wasm`, and the program `<target>_module`, which has the property `AOTBUILD_WEB_DIR`, the folder.
#]=]
function(aotbuild_add_wasm_module)
  _aotbuild_parse(aotbuild_add_wasm_module "${ARGV}")
  _aotbuild_check_model_type("${target}" STATIC_LIBRARY "no static library, as a module's parts are; make it STATIC")
  if(TARGET "${target}.generate")
    get_target_property(weights ${target}.generate AOTBUILD_WEIGHTS)
    if(weights STREQUAL "EXTERNAL")
      _aotbuild_problem("\"${target}\" has WEIGHTS EXTERNAL, and so no file that a page could fetch; use WEIGHTS FILE")
    endif()
  endif()
  if(NOT EMSCRIPTEN)
    _aotbuild_problem("the toolchain file is none of Emscripten's; set CMAKE_TOOLCHAIN_FILE to its Emscripten.cmake")
  endif()
  if(AOTBUILD_WASM_THREADS)
    _aotbuild_problem("the project is compiled with -pthread, and modules have one thread; leave it out")
  endif()
  _aotbuild_check_match(arg NAME "^[A-Za-z0-9_-]+$" "a name of letters, digits, _ and -")
  _aotbuild_report_problems("aotbuild_add_wasm_module(${target})")
  set(name "${arg_NAME}")
  if(name STREQUAL "")
    set(name ${target})
  endif()
  _aotbuild_add_module_program(${target} "${name}")
  _aotbuild_add_module_files(${target} "${name}" "${arg_EXCLUDE_FROM_ALL}")
endfunction()

# The linked module of a model, <name>.core.mjs and <name>.core.wasm.
function(_aotbuild_add_module_program target name)
  _aotbuild_module_command(command sources)
  get_target_property(manifest ${target}.generate AOTBUILD_MANIFEST)
  get_target_property(output_dir ${target}.generate AOTBUILD_OUTPUT_DIR)
  set(source "${output_dir}/${target}_module.cpp")
  add_custom_command(
    OUTPUT "${source}"
    COMMAND ${command} --manifest "${manifest}" --source "${source}"
    DEPENDS ${target}.generate ${sources}
    COMMENT "Writing the functions of the module ${name}"
    VERBATIM)
  _aotbuild_set_plain_properties("${source}")
  set(folder "${CMAKE_CURRENT_BINARY_DIR}/${name}.web")
  add_executable(${target}_module EXCLUDE_FROM_ALL "${source}")
  target_link_libraries(${target}_module PRIVATE ${target})
  target_link_options(${target}_module PRIVATE
    -sMODULARIZE=1 -sEXPORT_ES6=1 -sUSE_ES6_IMPORT_META=0 -sENVIRONMENT=web,worker -sASSERTIONS=0 -sFILESYSTEM=0
    -sALLOW_MEMORY_GROWTH=1 -sMAXIMUM_MEMORY=4GB -sEXPORTED_FUNCTIONS=_malloc,_free
    -sEXPORTED_RUNTIME_METHODS=UTF8ToString --no-entry)
  set_target_properties(${target}_module PROPERTIES
    OUTPUT_NAME "${name}.core"
    SUFFIX .mjs
    RUNTIME_OUTPUT_DIRECTORY "${folder}"
    AOTBUILD_WEB_DIR "${folder}"
    CXX_EXTENSIONS OFF)
endfunction()

# The ES module, its types and the weights beside the linked module, and the target that makes them.
function(_aotbuild_add_module_files target name exclude)
  _aotbuild_module_command(command sources)
  get_target_property(manifest ${target}.generate AOTBUILD_MANIFEST)
  get_target_property(output_dir ${target}.generate AOTBUILD_OUTPUT_DIR)
  get_target_property(weights ${target}.generate AOTBUILD_WEIGHTS_FILE)
  get_target_property(folder ${target}_module AOTBUILD_WEB_DIR)
  set(words "")
  if(weights)
    set(words --weights "${weights}")
  endif()
  set(stamp "${output_dir}/${target}.wasm.stamp")
  add_custom_command(
    OUTPUT "${stamp}"
    COMMAND ${command} --manifest "${manifest}" --name "${name}" --wasm "${folder}/${name}.core.wasm" ${words}
    COMMAND "${CMAKE_COMMAND}" -E touch "${stamp}"
    DEPENDS ${target}_module ${target}.generate ${sources}
    COMMENT "Making the module ${name}"
    VERBATIM)
  if(exclude)
    add_custom_target(${target}.wasm DEPENDS "${stamp}")
  else()
    add_custom_target(${target}.wasm ALL DEPENDS "${stamp}")
  endif()
endfunction()

# Sets <out_command> to what writes the files of modules, and <out_sources> to what it is made of.
function(_aotbuild_module_command out_command out_sources)
  _aotbuild_fact(python python)
  _aotbuild_fact(package_path package_path)
  set(script "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/private/wasm.py")
  file(GLOB sources "${package_path}/aotbuild/web/*")
  set(${out_command} "${python}" -I -S "${script}" "${package_path}" PARENT_SCOPE)
  set(${out_sources} ${sources} "${script}" PARENT_SCOPE)
endfunction()
