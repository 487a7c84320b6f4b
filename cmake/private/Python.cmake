# Finds the Python interpreter that runs the generator, and what its environment offers.

# Sets in the caller: AOTBUILD_PYTHON, aotbuild_package_path (the folder that the package lies in), aotbuild_generator
# (command line prefix), aotbuild_generator_depends, aotbuild_prefix, aotbuild_prebuilt, aotbuild_torch_include, aotbuild_torch_version, aotbuild_pybind11_dir.
function(_aotbuild_python)
  _aotbuild_find_interpreter(python)

  # The package lies beside cmake/ in both layouts: <repository>/python/aotbuild, or cmake/'s parent once installed.
  set(root "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../..")
  cmake_path(NORMAL_PATH root)
  string(REGEX REPLACE "/$" "" root "${root}")
  set(environment PYTHONHASHSEED=0)
  if(DEFINED AOTBUILD_CACHE_DIR)
    list(APPEND environment "AOTBUILD_CACHE_DIR=${AOTBUILD_CACHE_DIR}")
  endif()
  cmake_path(GET root PARENT_PATH package_path)
  set(python_path "")
  if(EXISTS "${root}/python/aotbuild/__init__.py")
    set(package_path "${root}/python")
    set(python_path "${root}/python")
    if(NOT "$ENV{PYTHONPATH}" STREQUAL "")
      string(APPEND python_path ":$ENV{PYTHONPATH}")
    endif()
    list(APPEND environment "PYTHONPATH=${python_path}")
  endif()

  _aotbuild_probe("${python}" "${environment}" output)
  foreach(key IN ITEMS version prefix prebuilt torch_include torch_version pybind11_dir aotbuild)
    string(JSON ${key} GET "${output}" ${key})
  endforeach()
  if(version VERSION_LESS 3.10)
    message(FATAL_ERROR
      "aotbuild: ${python} is Python ${version}; 3.10 or later is needed.\n"
      "Set AOTBUILD_PYTHON to the interpreter of the environment that aotbuild and torch are installed in.")
  endif()

  # A script that stands in for `python -m aotbuild`, for tests. As with CC, the environment sets the cache variable, so
  # that a later run of CMake without it does not change the build.
  if(NOT "$ENV{AOTBUILD_GENERATOR}" STREQUAL "" AND NOT DEFINED CACHE{AOTBUILD_GENERATOR})
    set(AOTBUILD_GENERATOR "$ENV{AOTBUILD_GENERATOR}" CACHE FILEPATH "Stand-in for `python -m aotbuild`")
    mark_as_advanced(AOTBUILD_GENERATOR)
  endif()
  set(generator "${AOTBUILD_GENERATOR}")
  if(generator STREQUAL "")
    foreach(package IN ITEMS aotbuild torch)
      set(found "${aotbuild}")
      if(package STREQUAL "torch")
        set(found "${torch_include}")
      endif()
      if(found STREQUAL "")
        message(FATAL_ERROR
          "aotbuild: ${python} has no package ${package}.\n"
          "Install it there, or set AOTBUILD_PYTHON to the interpreter of the environment that has aotbuild and torch.")
      endif()
    endforeach()
    set(own "${package_path}/aotbuild/__init__.py")
    file(REAL_PATH "${own}" own)
    file(REAL_PATH "${aotbuild}" found)
    if(NOT found STREQUAL own)
      cmake_path(GET found PARENT_PATH found)
      message(FATAL_ERROR
        "aotbuild: this CMake package belongs to ${root}, but ${python} imports another aotbuild, ${found}.\n"
        "Use its CMake package (-Daotbuild_DIR=\"$(${python} -m aotbuild --cmakedir)\"), or set AOTBUILD_PYTHON to the "
        "interpreter that this one belongs to.")
    endif()
    set(command "${python}" -m aotbuild)
    set(depends "")
  else()
    if(NOT EXISTS "${generator}")
      message(FATAL_ERROR "AOTBUILD_GENERATOR names the file ${generator}, which does not exist; name another, or unset it.")
    endif()
    set(command "${python}" "${generator}")
    set(depends "${generator}")
  endif()
  set(AOTBUILD_PYTHON "${python}" PARENT_SCOPE)
  set(aotbuild_package_path "${package_path}" PARENT_SCOPE)
  set(aotbuild_generator "${CMAKE_COMMAND}" -E env ${environment} ${command} PARENT_SCOPE)
  set(aotbuild_generator_depends "${depends}" PARENT_SCOPE)
  set(aotbuild_prefix "${prefix}" PARENT_SCOPE)
  set(aotbuild_prebuilt "${prebuilt}" PARENT_SCOPE)
  set(aotbuild_torch_include "${torch_include}" PARENT_SCOPE)
  set(aotbuild_torch_version "${torch_version}" PARENT_SCOPE)
  set(aotbuild_pybind11_dir "${pybind11_dir}" PARENT_SCOPE)
endfunction()

# Sets <out> to what probe.py prints, once for each interpreter and environment of a configuration.
function(_aotbuild_probe python environment out)
  string(SHA256 key "${python};${environment}")
  get_property(output GLOBAL PROPERTY _AOTBUILD_PROBE_${key})
  if("${output}" STREQUAL "")
    execute_process(
      COMMAND "${CMAKE_COMMAND}" -E env ${environment} "${python}" "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/probe.py"
      RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE error)
    if(NOT result EQUAL 0)
      message(FATAL_ERROR
        "aotbuild: the Python interpreter ${python} does not work:\n${error}\n"
        "Set AOTBUILD_PYTHON to the interpreter of the environment that aotbuild and torch are installed in.")
    endif()
    set_property(GLOBAL PROPERTY _AOTBUILD_PROBE_${key} "${output}")
  endif()
  set(${out} "${output}" PARENT_SCOPE)
endfunction()

# In this order: AOTBUILD_PYTHON; Python3_EXECUTABLE; the interpreter whose site-packages or checkout hold this file;
# CMake's choice.
function(_aotbuild_find_interpreter out)
  foreach(variable IN ITEMS AOTBUILD_PYTHON Python3_EXECUTABLE)
    if(${variable})
      if(NOT EXISTS "${${variable}}")
        message(FATAL_ERROR "aotbuild: ${variable} names the interpreter ${${variable}}, which does not exist; name another, or unset it.")
      endif()
      set(${out} "${${variable}}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  if(CMAKE_CURRENT_FUNCTION_LIST_DIR MATCHES "^(.+)/(lib|lib64)/(python3\\.[0-9]+)/(site|dist)-packages/aotbuild/")
    foreach(name IN ITEMS "${CMAKE_MATCH_3}" python3 python)
      if(EXISTS "${CMAKE_MATCH_1}/bin/${name}")
        set(${out} "${CMAKE_MATCH_1}/bin/${name}" PARENT_SCOPE)
        return()
      endif()
    endforeach()
  endif()
  # A checkout's own environment, made by `make bootstrap`.
  set(checkout_python "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../../.venv/bin/python")
  if(EXISTS "${checkout_python}")
    cmake_path(ABSOLUTE_PATH checkout_python NORMALIZE)
    set(${out} "${checkout_python}" PARENT_SCOPE)
    return()
  endif()
  find_package(Python3 3.10 QUIET COMPONENTS Interpreter)
  if(NOT Python3_Interpreter_FOUND)
    message(FATAL_ERROR
      "aotbuild: no Python 3.10 or later was found.\n"
      "Set AOTBUILD_PYTHON to the interpreter of the environment that aotbuild and torch are installed in.")
  endif()
  set(${out} "${Python3_EXECUTABLE}" PARENT_SCOPE)
endfunction()
