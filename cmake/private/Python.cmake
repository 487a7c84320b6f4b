# Finds the Python interpreter that runs the generator, and what its environment offers.

# Finds the interpreter and sets what Facts.cmake says of it. Every public function that runs it begins with this.
function(_aotbuild_python)
  _aotbuild_find_interpreter(python)
  _aotbuild_interpreter_environment(package_path environment)
  _aotbuild_stand_in(stand_in)
  set(found "${python};${environment};${stand_in}")
  get_property(known GLOBAL PROPERTY _AOTBUILD_PYTHON_FOUND)
  if(known STREQUAL found)  # by the call before
    return()
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
  if(stand_in STREQUAL "")
    _aotbuild_check_packages("${python}" "${package_path}" "${aotbuild}" "${torch_include}")
    set(command "${python}" -m aotbuild)
  else()
    set(command "${python}" "${stand_in}")
  endif()
  _aotbuild_set_fact(generator "${CMAKE_COMMAND}" -E env ${environment} ${command})
  _aotbuild_set_fact(generator_depends ${stand_in})
  foreach(fact IN ITEMS python package_path prefix prebuilt torch_include torch_version pybind11_dir)
    _aotbuild_set_fact(${fact} "${${fact}}")
  endforeach()
  set_property(GLOBAL PROPERTY _AOTBUILD_PYTHON_FOUND "${found}")
endfunction()

# Sets <out_path> to the folder that the package lies in, and <out_environment> to the variables that the interpreter needs
# to find it. It lies beside cmake/ in both layouts: <repository>/python/aotbuild, or cmake/'s parent once installed.
function(_aotbuild_interpreter_environment out_path out_environment)
  _aotbuild_fact(root root)
  set(environment PYTHONHASHSEED=0)
  foreach(variable IN ITEMS AOTBUILD_CACHE_DIR AOTBUILD_CACHE_URL)
    if(DEFINED ${variable})
      list(APPEND environment "${variable}=${${variable}}")
    endif()
  endforeach()
  cmake_path(GET root PARENT_PATH package_path)
  if(EXISTS "${root}/python/aotbuild/__init__.py")
    set(package_path "${root}/python")
    set(python_path "${root}/python")
    if(NOT "$ENV{PYTHONPATH}" STREQUAL "")
      string(APPEND python_path ":$ENV{PYTHONPATH}")
    endif()
    list(APPEND environment "PYTHONPATH=${python_path}")
  endif()
  set(${out_path} "${package_path}" PARENT_SCOPE)
  set(${out_environment} "${environment}" PARENT_SCOPE)
endfunction()

# Sets <out> to a script that stands in for `python -m aotbuild`, for tests; "" without. As with CC, the environment sets the
# cache variable, so that a later run of CMake without it does not change the build.
function(_aotbuild_stand_in out)
  if(NOT "$ENV{AOTBUILD_GENERATOR}" STREQUAL "" AND NOT DEFINED CACHE{AOTBUILD_GENERATOR})
    set(AOTBUILD_GENERATOR "$ENV{AOTBUILD_GENERATOR}" CACHE FILEPATH "Stand-in for `python -m aotbuild`")
    mark_as_advanced(AOTBUILD_GENERATOR)
  endif()
  if(NOT "${AOTBUILD_GENERATOR}" STREQUAL "" AND NOT EXISTS "${AOTBUILD_GENERATOR}")
    message(FATAL_ERROR
      "AOTBUILD_GENERATOR names the file ${AOTBUILD_GENERATOR}, which does not exist; name another, or unset it.")
  endif()
  set(${out} "${AOTBUILD_GENERATOR}" PARENT_SCOPE)
endfunction()

# Ends the configuration unless <python> imports torch and the aotbuild that this CMake package belongs to.
function(_aotbuild_check_packages python package_path aotbuild torch_include)
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
  file(REAL_PATH "${package_path}/aotbuild/__init__.py" own)
  file(REAL_PATH "${aotbuild}" found)
  if(NOT found STREQUAL own)
    _aotbuild_fact(root root)
    cmake_path(GET found PARENT_PATH found)
    message(FATAL_ERROR
      "aotbuild: this CMake package belongs to ${root}, but ${python} imports another aotbuild, ${found}.\n"
      "Use its CMake package (-Daotbuild_DIR=\"$(${python} -m aotbuild --cmakedir)\"), or set AOTBUILD_PYTHON to the "
      "interpreter that this one belongs to.")
  endif()
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
  _aotbuild_fact(root root)
  set(checkout_python "${root}/.venv/bin/python")
  if(EXISTS "${checkout_python}")
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
