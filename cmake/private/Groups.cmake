# How generated sources are compiled. A plan names each group of them by its kind.

# How each group of the plan's sources is compiled.
function(_aotbuild_set_group_properties)
  foreach(index IN LISTS plan_groups)
    set(group plan_groups_${index})
    set(kind "${${group}_kind}")
    set(sources "${${group}_sources}")
    if(kind STREQUAL "kernels")
      _aotbuild_set_kernel_properties("${${group}_flags}" "${plan_preset}" "${sources}")
    elseif(kind STREQUAL "custom")
      _aotbuild_set_custom_properties("${plan_runtime}" "${sources}")
    elseif(kind STREQUAL "launch")
      _aotbuild_set_launch_properties("${sources}")
    elseif(kind STREQUAL "embed")
      _aotbuild_set_binary_properties("${sources}" "${${group}_embeds}")
    else()
      _aotbuild_set_plain_properties(${sources})
    endif()
  endforeach()
endfunction()

# The compile options of the sources that TorchInductor wrote, for one instruction set.
function(_aotbuild_set_kernel_properties isa_flags preset sources)
  # After the flags of the build type, so these win: kernels are always optimised, except where PRESET says otherwise.
  if(preset STREQUAL "debug")
    set(optimisation "")
  elseif(preset STREQUAL "min-size")
    set(optimisation -Os)
  else()
    set(optimisation -O3)
  endif()
  _aotbuild_prefix_maps(maps)
  set(torch_include "")
  _aotbuild_fact(torch_include torch_folder)
  if(NOT torch_folder STREQUAL "")
    set(torch_include "-isystem${torch_folder}" "-ffile-prefix-map=${torch_folder}=torch")
  endif()
  if(CMAKE_CROSSCOMPILING)
    # torch's include folder holds a sleef.h for the processor that builds; this one comes first.
    _aotbuild_runtime_dependencies()
    get_target_property(sleef_include aotbuild::sleef INTERFACE_INCLUDE_DIRECTORIES)
    list(PREPEND torch_include -include "${sleef_include}/sleef.h")
  endif()
  set(definitions TORCH_INDUCTOR_CPP_WRAPPER STANDALONE_TORCH_HEADER C10_USING_CUSTOM_GENERATED_MACROS)
  _aotbuild_processor(family)
  if(family STREQUAL "aarch64")
    list(APPEND definitions AT_BUILD_ARM_VEC256_WITH_SLEEF)  # at::vec's math functions, as in torch's own build
  endif()
  if(WIN32)
    list(APPEND definitions _USE_MATH_DEFINES)  # M_PI and its like in <cmath>, as PyTorch's headers want them
  endif()
  _aotbuild_own_flags(own_flags)
  # Tensors' integers wrap, as eager PyTorch's do, and generated code computes with plain signed ones.
  set(options
    -std=c++20 ${isa_flags} ${optimisation} ${own_flags} -fwrapv -fno-math-errno -fno-trapping-math -w
    ${torch_include} ${maps})
  set_source_files_properties(${sources} PROPERTIES
    COMPILE_OPTIONS "${options}"
    COMPILE_DEFINITIONS "${definitions}"
    SKIP_PRECOMPILE_HEADERS ON
    SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# The compile options of the sources that include those of registered kernels: the project's own. The sources are named
# relative to this folder.
function(_aotbuild_set_custom_properties runtime sources)
  _aotbuild_prefix_maps(maps)
  set(definitions "")
  if(runtime STREQUAL "torch")
    set(definitions AOTBUILD_KERNELS_OF_TORCH)
  endif()
  set_source_files_properties(${sources} PROPERTIES
    COMPILE_DEFINITIONS "${definitions}"
    COMPILE_OPTIONS "-I${CMAKE_CURRENT_SOURCE_DIR};${maps};-ffile-prefix-map=${CMAKE_SOURCE_DIR}=."
    SKIP_PRECOMPILE_HEADERS ON
    SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# The compile options of a run function that launches a GPU's kernels: it needs neither torch's headers nor vectors.
function(_aotbuild_set_launch_properties sources)
  _aotbuild_prefix_maps(maps)
  _aotbuild_own_flags(own_flags)
  set_source_files_properties(${sources} PROPERTIES
    COMPILE_OPTIONS "-std=c++20;-O2;${own_flags};${maps}"
    SKIP_PRECOMPILE_HEADERS ON
    SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# The compile options of generated sources that compute nothing: the tables and functions of a library, and programs.
function(_aotbuild_set_plain_properties)
  _aotbuild_prefix_maps(maps)
  _aotbuild_own_flags(own_flags)
  set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS "${own_flags};${maps}")
endfunction()

# The compile options of a source that embeds a file, which the assembler finds by name, so that no path gets into it.
function(_aotbuild_set_binary_properties source file)
  _aotbuild_prefix_maps(maps)
  cmake_path(GET file PARENT_PATH folder)
  # With -flto the linker's plugin would not see what assembly defines; with -Wa, a comma in the path would end it.
  set_source_files_properties("${source}" PROPERTIES
    COMPILE_OPTIONS "${maps};-fno-lto;-Xassembler;-I${folder}"
    OBJECT_DEPENDS "${file}")
endfunction()
