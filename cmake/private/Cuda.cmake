# GPU architectures: what DEVICE cuda is compiled for, in CMake's notation, declared and never probed.

# As in python/aotbuild/target.py, which has their figures. From 90 on, Triton compiles for sm_90a and the like, whose
# PTX loads on no later GPU.
set_property(GLOBAL PROPERTY _AOTBUILD_CUDA_ARCHITECTURES 75 80 86 89 90 100 120)
set_property(GLOBAL PROPERTY _AOTBUILD_CUDA_VIRTUAL_ARCHITECTURES 75 80 86 89)

# Sets <out> to CUDA_ARCHITECTURES of the call, else the project's own.
function(_aotbuild_cuda_architectures prefix out)
  set(architectures "${${prefix}_CUDA_ARCHITECTURES}")
  if(architectures STREQUAL "")
    set(architectures "${CMAKE_CUDA_ARCHITECTURES}")
  endif()
  set(${out} "${architectures}" PARENT_SCOPE)
endfunction()

# Sets <out> to what names of files say of one architecture: sm_90, or compute_80 for PTX.
function(_aotbuild_cuda_suffix architecture out)
  string(REGEX MATCH "^[0-9]+" number "${architecture}")
  if(architecture MATCHES "-virtual$")
    set(${out} "compute_${number}" PARENT_SCOPE)
  else()
    set(${out} "sm_${number}" PARENT_SCOPE)
  endif()
endfunction()

# Checks the values of CUDA_ARCHITECTURES. Problems go to the caller's `problems`.
function(_aotbuild_check_cuda prefix)
  get_property(known GLOBAL PROPERTY _AOTBUILD_CUDA_ARCHITECTURES)
  get_property(virtual GLOBAL PROPERTY _AOTBUILD_CUDA_VIRTUAL_ARCHITECTURES)
  set(keyword CUDA_ARCHITECTURES)
  if("${${prefix}_CUDA_ARCHITECTURES}" STREQUAL "")
    set(keyword CMAKE_CUDA_ARCHITECTURES)
  endif()
  _aotbuild_cuda_architectures(${prefix} architectures)
  if(architectures STREQUAL "")
    _aotbuild_problem("CUDA_ARCHITECTURES is missing, as in CUDA_ARCHITECTURES 80 90, and so is CMAKE_CUDA_ARCHITECTURES: "
                      "they are declared, because the machine that builds need not have the GPU")
  endif()
  list(JOIN known ", " choices)
  list(JOIN virtual ", " virtual_choices)
  set(seen "")
  foreach(architecture IN LISTS architectures)
    _aotbuild_cuda_suffix("${architecture}" suffix)
    string(REGEX REPLACE "-(real|virtual)$" "" number "${architecture}")
    if(NOT number IN_LIST known)
      _aotbuild_problem("${keyword} \"${architecture}\" is none of ${choices}, with or without -real, or one of "
                        "${virtual_choices} with -virtual")
    elseif(architecture MATCHES "-virtual$" AND NOT number IN_LIST virtual)
      _aotbuild_problem("${keyword} \"${architecture}\": PTX from 90 on loads on no later GPU; write ${number}, and "
                        "80-virtual for later ones")
    elseif(suffix IN_LIST seen)
      _aotbuild_problem("${keyword} names ${suffix} more than once; keep one of them")
    endif()
    list(APPEND seen "${suffix}")
  endforeach()
  set(problems "${problems}" PARENT_SCOPE)
endfunction()
