# libtorch, for models with RUNTIME torch. Installed packages of such models bring this file too.

# _aotbuild_torch(<version> <hint> <who>): makes aotbuild::torch, visible everywhere, of a libtorch of that version: the one
# of the project's own search paths (Torch_DIR, CMAKE_PREFIX_PATH), else the one in the folder <hint>, which may be empty.
# <who> begins the error.
#
# Its package is found but not loaded: that would need the CUDA toolkit where libtorch was built with CUDA, overwrite the
# project's CMAKE_CUDA_ARCHITECTURES and CMAKE_CUDA_FLAGS, and make targets that one directory alone sees.
function(_aotbuild_torch version hint who)
  if(TARGET aotbuild::torch)
    return()
  endif()
  find_path(Torch_DIR TorchConfig.cmake HINTS "${Torch_ROOT}" "$ENV{Torch_ROOT}" "$ENV{Torch_DIR}"
    PATHS "${hint}" PATH_SUFFIXES share/cmake/Torch DOC "The folder of libtorch's TorchConfig.cmake")
  mark_as_advanced(Torch_DIR)
  if(NOT EXISTS "${Torch_DIR}/TorchConfig.cmake")
    message(FATAL_ERROR
      "${who}: RUNTIME torch needs libtorch ${version}, and no TorchConfig.cmake was found.\n"
      "Set Torch_DIR to its folder (share/cmake/Torch below libtorch or below the Python package torch), or build the "
      "model with RUNTIME standalone.")
  endif()
  file(REAL_PATH "${Torch_DIR}/../../.." root)
  set(PACKAGE_VERSION "")
  include("${Torch_DIR}/TorchConfigVersion.cmake" OPTIONAL)
  string(REGEX MATCH "^[0-9]+(\\.[0-9]+)*" found "${PACKAGE_VERSION}")
  if(NOT found VERSION_EQUAL version)
    message(FATAL_ERROR
      "${who}: RUNTIME torch needs libtorch ${version}, the version that the model is generated with, but the one at "
      "${root} is ${PACKAGE_VERSION}.\n"
      "Set Torch_DIR to the folder of the TorchConfig.cmake of libtorch ${version}, or generate with torch ${found}.")
  endif()
  foreach(name IN ITEMS torch_cpu c10)
    find_library(${name} ${name} PATHS "${root}/lib" NO_DEFAULT_PATH NO_CACHE)
    if(NOT ${name})
      message(FATAL_ERROR
        "${who}: the libtorch at ${root} has no shared library ${name}; RUNTIME torch needs one that was built with "
        "BUILD_SHARED_LIBS.")
    endif()
  endforeach()
  # The libraries of the CPU alone, so that a program does not load CUDA's. A program that links a shared model loads them
  # itself, although it may refer to nothing of them: its search path is of no use to the model's library.
  add_library(aotbuild::torch INTERFACE IMPORTED GLOBAL)
  set_target_properties(aotbuild::torch PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${root}/include;${root}/include/torch/csrc/api/include"
    INTERFACE_LINK_LIBRARIES "${torch_cpu};${c10}"
    INTERFACE_LINK_OPTIONS "LINKER:--push-state,--no-as-needed,${torch_cpu},${c10},--pop-state")
endfunction()
