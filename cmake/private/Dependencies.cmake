# What the runtime and the models are compiled with: OpenMP, Sleef, oneDNN, Eigen, the JSON library.

# Makes aotbuild::dnnl, aotbuild::sleef and aotbuild::openmp, visible everywhere.
# They are made here, from paths and flags, because targets that find_package imports are visible in one directory only,
# and the runtime's users may be anywhere. An installed package defines the same three names for itself.
function(_aotbuild_runtime_dependencies)
  if(EMSCRIPTEN AND NOT TARGET aotbuild::openmp)
    _aotbuild_require_vectors()
    _aotbuild_wasm_threads(threads)
    _aotbuild_fact(cpp cpp)
    add_library(aotbuild::openmp INTERFACE IMPORTED GLOBAL)
    set_target_properties(aotbuild::openmp PROPERTIES INTERFACE_LINK_OPTIONS -fexceptions)
    if(threads)  # the runtime has what Clang makes of the pragmas
      set_target_properties(aotbuild::openmp PROPERTIES
        INTERFACE_INCLUDE_DIRECTORIES "${cpp}/wasm_threads"
        INTERFACE_COMPILE_OPTIONS "$<$<COMPILE_LANGUAGE:CXX>:-fopenmp>")
    else()  # the pragmas are ignored
      set_target_properties(aotbuild::openmp PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${cpp}/single_thread")
    endif()
  elseif(NOT TARGET aotbuild::openmp)
    _aotbuild_require_threads()
    find_package(OpenMP QUIET COMPONENTS CXX)
    if(NOT OpenMP_CXX_FOUND)
      message(FATAL_ERROR
        "aotbuild: the C++ compiler ${CMAKE_CXX_COMPILER} has no OpenMP.\n"
        "GCC brings it; for Clang install libomp (Debian: libomp-dev). If it is there, CMake's log in CMakeFiles says why "
        "the check failed: a full disk, for example.")
    endif()
    separate_arguments(flags NATIVE_COMMAND "${OpenMP_CXX_FLAGS}")
    if(MINGW)  # by name: the file that CMake finds is the import library, also for what is linked with -static
      set(OpenMP_CXX_LIBRARIES "${OpenMP_CXX_LIB_NAMES}")
      list(TRANSFORM OpenMP_CXX_LIBRARIES PREPEND "-l")
    endif()
    add_library(aotbuild::openmp INTERFACE IMPORTED GLOBAL)
    set_target_properties(aotbuild::openmp PROPERTIES
      INTERFACE_COMPILE_OPTIONS "$<$<COMPILE_LANGUAGE:CXX>:${flags}>"
      INTERFACE_LINK_LIBRARIES "${OpenMP_CXX_LIBRARIES}")
  endif()

  _aotbuild_fact(prefix prefix)
  _aotbuild_onednn(onednn)
  if(onednn)
    set(remedy "pip install onednn-devel-cpu-gomp")
    if(CMAKE_CROSSCOMPILING)
      set(remedy "oneDNN 3 built for ${CMAKE_SYSTEM_PROCESSOR}; or leave AOTBUILD_ONEDNN out for a runtime without")
    endif()
    _aotbuild_import_library(dnnl oneapi/dnnl/dnnl.hpp "${prefix}" "oneDNN" "${remedy}")
  endif()
  _aotbuild_sleef(sleef)
  if(sleef)
    _aotbuild_import_library(sleef sleef.h "${prefix}" "Sleef" "Debian's libsleef-dev")
  elseif(NOT TARGET aotbuild::sleef)
    _aotbuild_fact(cpp cpp)
    add_library(aotbuild::sleef INTERFACE IMPORTED GLOBAL)
    set_target_properties(aotbuild::sleef PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${cpp}/vector_math")
  endif()
endfunction()

# Sets <out> to whether kernels call Sleef: the variable AOTBUILD_SLEEF, by default on Linux with processors whose vectors
# PyTorch's headers have. Otherwise a header of aotbuild's own has its functions.
function(_aotbuild_sleef out)
  _aotbuild_processor(family)
  set(sleef OFF)
  if(NOT WIN32 AND family MATCHES "^(x86-64|aarch64)$")
    set(sleef ON)
  endif()
  if(DEFINED AOTBUILD_SLEEF)
    set(sleef "${AOTBUILD_SLEEF}")
  endif()
  set(${out} "${sleef}" PARENT_SCOPE)
endfunction()

# Checks that the target's C++ library has threads: that of MinGW-w64's GCC 12 with win32 threads has none.
function(_aotbuild_require_threads)
  if(MINGW)
    include(CheckCXXSourceCompiles)
    check_cxx_source_compiles("#include <mutex>\nint main() { std::mutex mutex; mutex.lock(); }" AOTBUILD_HAS_THREADS)
    if(NOT AOTBUILD_HAS_THREADS)
      message(FATAL_ERROR
        "aotbuild: the C++ library of ${CMAKE_CXX_COMPILER} has no threads (std::mutex).\n"
        "Use MinGW-w64's GCC with posix threads (Debian: g++-mingw-w64-x86-64-posix, "
        "x86_64-w64-mingw32-g++-posix).")
    endif()
  endif()
endfunction()

# Sets <out> to whether the project is compiled for WebAssembly with threads (-pthread).
function(_aotbuild_wasm_threads out)
  include(CheckCXXSourceCompiles)
  check_cxx_source_compiles(
    "#ifndef __EMSCRIPTEN_PTHREADS__\n#error one thread\n#endif\nint main() { return 0; }" AOTBUILD_WASM_THREADS)
  set(${out} "${AOTBUILD_WASM_THREADS}" PARENT_SCOPE)
endfunction()

# Checks that Emscripten's compiler makes vectors of WebAssembly, which the runtime and the models are compiled with.
function(_aotbuild_require_vectors)
  include(CheckCXXSourceCompiles)
  set(CMAKE_REQUIRED_FLAGS -msimd128)
  check_cxx_source_compiles(
    "#ifndef __wasm_simd128__\n#error no vectors\n#endif\nint main() { return 0; }" AOTBUILD_HAS_VECTORS)
  if(NOT AOTBUILD_HAS_VECTORS)
    message(FATAL_ERROR
      "aotbuild: the C++ compiler ${CMAKE_CXX_COMPILER} makes no vectors of WebAssembly (-msimd128).\n"
      "Use Emscripten 3.1 or later (Debian: emscripten).")
  endif()
endfunction()

# Sets <out> to whether the runtime uses oneDNN: the variable AOTBUILD_ONEDNN, by default no.
function(_aotbuild_onednn out)
  set(${out} OFF PARENT_SCOPE)
  if(AOTBUILD_ONEDNN)
    set(${out} ON PARENT_SCOPE)
  endif()
endfunction()

# Sets <out> to whether the runtime gets what needs Eigen: where its headers are, unless AOTBUILD_EIGEN is off.
function(_aotbuild_find_eigen out)
  set(${out} OFF PARENT_SCOPE)
  if(DEFINED AOTBUILD_EIGEN AND NOT AOTBUILD_EIGEN)
    return()
  endif()
  _aotbuild_fact(prefix prefix)
  find_path(AOTBUILD_EIGEN_INCLUDE_DIR unsupported/Eigen/MatrixFunctions
    HINTS "${prefix}/include" /usr/include PATH_SUFFIXES eigen3 include/eigen3 NO_CMAKE_FIND_ROOT_PATH)
  mark_as_advanced(AOTBUILD_EIGEN_INCLUDE_DIR)
  if(AOTBUILD_EIGEN_INCLUDE_DIR)
    set(${out} ON PARENT_SCOPE)
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
  # The Python package brings one for machines that have none. Its file has the name that programs ask for.
  _aotbuild_fact(prebuilt prebuilt)
  if(NOT CMAKE_CROSSCOMPILING AND NOT ${variable}_LIBRARY AND EXISTS "${prebuilt}/${name}")
    file(GLOB files "${prebuilt}/${name}/lib/*.so.*")
    set(${variable}_LIBRARY "${files}" CACHE FILEPATH "of the Python package aotbuild" FORCE)
    set(${variable}_INCLUDE_DIR "${prebuilt}/${name}/include" CACHE PATH "of the Python package aotbuild" FORCE)
  endif()
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

# Sets AOTBUILD_NLOHMANN_JSON_INCLUDE_DIR in the cache, where nlohmann-json is found.
function(_aotbuild_find_json)
  _aotbuild_fact(prefix prefix)
  find_path(AOTBUILD_NLOHMANN_JSON_INCLUDE_DIR nlohmann/json.hpp HINTS "${prefix}" /usr PATH_SUFFIXES include
    NO_CMAKE_FIND_ROOT_PATH)
  mark_as_advanced(AOTBUILD_NLOHMANN_JSON_INCLUDE_DIR)
endfunction()

# Gives <target> the header-only JSON library. Its folder, not a target: nothing of it is needed after installing.
function(_aotbuild_use_json target)
  _aotbuild_find_json()
  if(NOT AOTBUILD_NLOHMANN_JSON_INCLUDE_DIR)
    message(FATAL_ERROR
      "aotbuild: the header nlohmann/json.hpp was not found.\n"
      "Install it (Debian's nlohmann-json3-dev), or set AOTBUILD_NLOHMANN_JSON_INCLUDE_DIR.")
  endif()
  set(folder "${AOTBUILD_NLOHMANN_JSON_INCLUDE_DIR}")
  if(CMAKE_CROSSCOMPILING)
    # The folder may be one of system headers, which are another system's: a folder that holds this library alone.
    set(folder "${CMAKE_BINARY_DIR}/CMakeFiles/aotbuild.json")
    file(MAKE_DIRECTORY "${folder}")
    file(CREATE_LINK "${AOTBUILD_NLOHMANN_JSON_INCLUDE_DIR}/nlohmann" "${folder}/nlohmann" COPY_ON_ERROR SYMBOLIC)
  endif()
  target_include_directories(${target} SYSTEM PRIVATE "${folder}")
endfunction()
