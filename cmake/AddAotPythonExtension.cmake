#[=[.md:
## `add_aot_python_extension`

    add_aot_python_extension(<target> [EXCLUDE_FROM_ALL])

Adds the target `<module>`, an extension module that makes the model of the library `<target>` importable from Python.
The module's name is that of `PYTHON_MODULE`, with which the model was made. Needs pybind11 in the Python environment,
or where CMake finds it. Beside the module lies `<module>.pyi`, its types, made from the model's manifest.

| keyword | default | meaning | refused |
|---|---|---|---|
| `<target>` | required | a library of a model that was made with `PYTHON_MODULE` | anything but a model; a model without `PYTHON_MODULE`; a module with the name of a target |
| `EXCLUDE_FROM_ALL` | | the module is built only on demand | a value |
#]=]
function(add_aot_python_extension)
  _aotbuild_parse(add_aot_python_extension "${ARGV}")
  _aotbuild_add_python_extension("${target}" "${arg_EXCLUDE_FROM_ALL}")
endfunction()

# <exclude>: as EXCLUDE_FROM_ALL. `problems` and `keywords` of the caller are those of its words.
function(_aotbuild_add_python_extension target exclude)
  _aotbuild_check_model_library("${target}" PYTHON_SOURCE "the model was made without PYTHON_MODULE; add it there")
  if(problems STREQUAL "")
    get_target_property(module ${target}.generate AOTBUILD_PYTHON_MODULE)
    if(TARGET "${module}")
      _aotbuild_problem("a target named \"${module}\", as the Python module, already exists; change PYTHON_MODULE")
    endif()
  endif()
  _aotbuild_report_problems("add_aot_python_extension(${target})")

  _aotbuild_find_pybind11("add_aot_python_extension(${target})")
  get_target_property(source ${target}.generate AOTBUILD_PYTHON_SOURCE)
  set(sources "${source}")
  get_target_property(type ${target} TYPE)
  if(NOT type STREQUAL "SHARED_LIBRARY")
    get_target_property(api_source ${target}.generate AOTBUILD_API_SOURCE)
    list(APPEND sources "${api_source}")
  endif()
  set_source_files_properties(${sources} PROPERTIES GENERATED TRUE)
  _aotbuild_set_plain_properties(${sources})
  if(exclude)
    set(exclude EXCLUDE_FROM_ALL)
  else()
    set(exclude "")
  endif()
  pybind11_add_module(${module} MODULE ${exclude} ${sources})
  add_dependencies(${module} ${target}.generate)
  target_link_libraries(${module} PRIVATE ${target})
  _aotbuild_library_properties(${module})
  _aotbuild_place_weights(${module} ${target})
  get_target_property(stub ${target}.generate AOTBUILD_PYTHON_STUB)
  add_custom_command(TARGET ${module} POST_BUILD
    COMMAND "${CMAKE_COMMAND}" -E copy_if_different "${stub}" "$<TARGET_FILE_DIR:${module}>/"
    VERBATIM)
endfunction()

# Finds pybind11 for the interpreter that runs the generator.
macro(_aotbuild_find_pybind11 call)
  _aotbuild_python()
  set(PYBIND11_FINDPYTHON ON)
  _aotbuild_fact(python Python_EXECUTABLE)
  _aotbuild_fact(pybind11_dir pybind11_dir)
  find_package(pybind11 QUIET CONFIG HINTS "${pybind11_dir}")
  if(NOT pybind11_FOUND)
    message(FATAL_ERROR
      "${call}: pybind11 was not found.\nInstall it for ${Python_EXECUTABLE} (pip install pybind11), or set pybind11_DIR.")
  endif()
endmacro()
