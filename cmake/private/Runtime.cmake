# The runtime library that generated models call, built in the user's project: one copy for all models.

# Makes aotbuild::dnnl, aotbuild::sleef and aotbuild::openmp, visible everywhere.
# They are made here, from paths and flags, because targets that find_package imports are visible in one directory only,
# and the runtime's users may be anywhere. An installed package defines the same three names for itself.
function(_aotbuild_runtime_dependencies prefix)
  if(NOT TARGET aotbuild::openmp)
    find_package(OpenMP QUIET COMPONENTS CXX)
    if(NOT OpenMP_CXX_FOUND)
      message(FATAL_ERROR
        "aotbuild: the C++ compiler ${CMAKE_CXX_COMPILER} has no OpenMP.\n"
        "GCC brings it; for Clang install libomp (Debian: libomp-dev).")
    endif()
    separate_arguments(flags NATIVE_COMMAND "${OpenMP_CXX_FLAGS}")
    add_library(aotbuild::openmp INTERFACE IMPORTED GLOBAL)
    set_target_properties(aotbuild::openmp PROPERTIES
      INTERFACE_COMPILE_OPTIONS "$<$<COMPILE_LANGUAGE:CXX>:${flags}>"
      INTERFACE_LINK_LIBRARIES "${OpenMP_CXX_LIBRARIES}")
  endif()

  _aotbuild_onednn(onednn)
  if(onednn)
    set(remedy "pip install onednn-devel-cpu-gomp")
    if(CMAKE_CROSSCOMPILING)
      set(remedy "oneDNN 3 built for ${CMAKE_SYSTEM_PROCESSOR}; or set AOTBUILD_ONEDNN to OFF for a slow runtime without")
    endif()
    _aotbuild_import_library(dnnl oneapi/dnnl/dnnl.hpp "${prefix}" "oneDNN" "${remedy}")
  endif()
  _aotbuild_import_library(sleef sleef.h "${prefix}" "Sleef" "Debian's libsleef-dev")
endfunction()

# Sets <out> to whether the runtime uses oneDNN: the variable AOTBUILD_ONEDNN, by default yes.
function(_aotbuild_onednn out)
  set(${out} ON PARENT_SCOPE)
  if(DEFINED AOTBUILD_ONEDNN AND NOT AOTBUILD_ONEDNN)
    set(${out} OFF PARENT_SCOPE)
  endif()
endfunction()

# Finds a library by name and header: in the Python environment's prefix first, then in the system.
function(_aotbuild_import_library name header prefix title remedy)
  if(TARGET aotbuild::${name})
    return()
  endif()
  string(TOUPPER "AOTBUILD_${name}" variable)
  set(hints "")
  if(NOT CMAKE_CROSSCOMPILING)
    set(hints "${prefix}")
  endif()
  find_library(${variable}_LIBRARY ${name} HINTS ${hints} PATH_SUFFIXES lib)
  find_path(${variable}_INCLUDE_DIR ${header} HINTS ${hints} PATH_SUFFIXES include)
  mark_as_advanced(${variable}_LIBRARY ${variable}_INCLUDE_DIR)
  if(NOT ${variable}_LIBRARY OR NOT ${variable}_INCLUDE_DIR)
    message(FATAL_ERROR
      "aotbuild: ${title} was not found (lib${name} and ${header}), neither below ${prefix} nor in the system.\n"
      "Install it (${remedy}), or set ${variable}_LIBRARY and ${variable}_INCLUDE_DIR.")
  endif()
  add_library(aotbuild::${name} UNKNOWN IMPORTED GLOBAL)
  set_target_properties(aotbuild::${name} PROPERTIES
    IMPORTED_LOCATION "${${variable}_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${${variable}_INCLUDE_DIR}")
endfunction()

# _aotbuild_runtime(STATIC|SHARED <out>): sets <out> to the runtime target, which is made at the first call.
# Static models share the static runtime; shared ones the shared runtime, so that two of them in one process share it.
function(_aotbuild_runtime kind out)
  _aotbuild_runtime_dependencies("${aotbuild_prefix}")
  if(kind STREQUAL "SHARED")
    set(name aotbuild_runtime_shared)
    set(alias aotbuild::runtime_shared)
  else()
    set(name aotbuild_runtime)
    set(alias aotbuild::runtime)
  endif()
  set(${out} ${name} PARENT_SCOPE)
  if(TARGET ${name})
    return()
  endif()

  set(cpp "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../../cpp")
  cmake_path(NORMAL_PATH cpp)
  include("${cpp}/src/sources.cmake")
  list(TRANSFORM AOTBUILD_RUNTIME_SOURCES PREPEND "${cpp}/src/")

  add_library(${name} ${kind} EXCLUDE_FROM_ALL ${AOTBUILD_RUNTIME_SOURCES})
  _aotbuild_group_sources(${name} ${AOTBUILD_RUNTIME_SOURCES})
  add_library(${alias} ALIAS ${name})
  target_include_directories(${name}
    PUBLIC "$<BUILD_INTERFACE:${cpp}/include>"
    PRIVATE "${cpp}/src")
  _aotbuild_use_json(${name})
  target_compile_features(${name} PUBLIC cxx_std_17)
  _aotbuild_prefix_maps(maps)
  # A project that sets no CMAKE_BUILD_TYPE gets a fast runtime all the same.
  target_compile_options(${name} PRIVATE ${maps} "$<$<STREQUAL:$<CONFIG>,>:-O2>")
  target_link_libraries(${name} PRIVATE aotbuild::sleef aotbuild::openmp ${CMAKE_DL_LIBS})
  _aotbuild_onednn(onednn)
  if(onednn)
    target_link_libraries(${name} PRIVATE aotbuild::dnnl)
  else()
    target_include_directories(${name} PRIVATE "${cpp}/src/without_onednn")
  endif()
  if(kind STREQUAL "SHARED")
    target_compile_definitions(${name} PUBLIC AOTBUILD_RUNTIME_SHARED_BUILD)
  endif()
  _aotbuild_library_properties(${name})
endfunction()

# Compiles the CPU runtime as four files instead of 24, which takes half the processor time (20 s for 38 s: most of each
# file's time is in oneDNN's headers). It is part of a model's first build.
function(_aotbuild_group_sources target)
  foreach(source IN LISTS ARGN)
    cmake_path(GET source STEM stem)
    if(stem MATCHES "^(safetensors|weights|cuda_.*)$")
      continue()
    elseif(stem MATCHES "^shim_cpu_(distance|pool|random|scan|select|sort)$")
      set(group selections)
    elseif(stem MATCHES "^(shim_.*|copy|cpu_features|dtype|error|matmul)$")
      set(group operators)
    else()
      set(group layers)
    endif()
    set_source_files_properties("${source}" PROPERTIES UNITY_GROUP ${group})
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()

# Gives <target> the header-only JSON library. Its folder, not a target: nothing of it is needed after installing.
function(_aotbuild_use_json target)
  find_path(AOTBUILD_NLOHMANN_JSON_INCLUDE_DIR nlohmann/json.hpp HINTS "${aotbuild_prefix}" PATH_SUFFIXES include)
  mark_as_advanced(AOTBUILD_NLOHMANN_JSON_INCLUDE_DIR)
  if(NOT AOTBUILD_NLOHMANN_JSON_INCLUDE_DIR)
    message(FATAL_ERROR
      "aotbuild: the header nlohmann/json.hpp was not found.\n"
      "Install it (Debian's nlohmann-json3-dev), or set AOTBUILD_NLOHMANN_JSON_INCLUDE_DIR.")
  endif()
  target_include_directories(${target} SYSTEM PRIVATE "${AOTBUILD_NLOHMANN_JSON_INCLUDE_DIR}")
endfunction()

# What the runtime and the models have in common.
function(_aotbuild_library_properties target)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON
    POSITION_INDEPENDENT_CODE ON
    BUILD_RPATH_USE_ORIGIN ON
    INSTALL_RPATH "$ORIGIN")
endfunction()

# Sets <out> to compile options that make the same bytes wherever the sources and the build lie: assertions and debug
# information hold their paths.
function(_aotbuild_prefix_maps out)
  cmake_path(SET cpp NORMALIZE "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../../cpp")
  set(${out} "-ffile-prefix-map=${CMAKE_BINARY_DIR}=." "-ffile-prefix-map=${cpp}=aotbuild/cpp" PARENT_SCOPE)
endfunction()
