# Compile options that keep the meaning of aotbuild's code, generated or its own, whatever the flags of the project say.

# Sets <out> to compile options of sources. They come last of all options, where source properties are.
# Arithmetic is that of IEEE 754 to the letter, as eager PyTorch's is: NaN, infinities and zeros with signs exist, and no
# sum is made in another order. Errors are exceptions. Static variables of functions are made once, by one thread.
# Symbols may be unloaded: a "unique" one, as GCC makes of static variables in templates, keeps its plugin loaded for ever.
# No link-time optimisation: it would warn of this code while it links the project's, and wins nothing at C functions.
# No warnings: the project's own -Wall -Werror must not stop the build at code that is not the project's.
function(_aotbuild_own_flags out)
  set(flags
    -fno-fast-math -fno-unsafe-math-optimizations -fno-finite-math-only -fno-associative-math -fno-reciprocal-math
    -fsigned-zeros -fno-rounding-math -ffp-contract=off -fexceptions -fthreadsafe-statics
    -fno-lto)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND flags -fno-cx-limited-range -fno-cx-fortran-rules -fno-single-precision-constant -fno-trapv
      -fno-gnu-unique)
  else()
    list(APPEND flags -fhonor-nans -fhonor-infinities -fno-approx-func -fdenormal-fp-math=ieee)
  endif()
  _aotbuild_processor(family)
  if(family STREQUAL "x86-64")
    list(APPEND flags -mfpmath=sse)
  endif()
  # GCC aligns the stack to 16 bytes on Windows and takes larger vectors there for aligned (its bug 54412; Debian's has a
  # patch): the assembler makes moves that need no alignment of all. They are as fast.
  if(MINGW AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND flags -Wa,-muse-unaligned-vector-move)
  endif()
  if(EMSCRIPTEN)
    list(APPEND flags -msimd128)
  endif()
  if(NOT AOTBUILD_BUILD_TESTS)  # aotbuild's own tests see its warnings
    list(APPEND flags -w)
  endif()
  set(${out} ${flags} -frtti PARENT_SCOPE)
endfunction()

# Gives the sources of <target> the same options.
# They come from a library that is linked last: options of libraries follow the target's own, and link_libraries() of the
# project may have brought some. One string, so that CMake drops none that the project has too.
function(_aotbuild_use_own_flags target)
  _aotbuild_own_flags(flags)
  list(JOIN flags " " flags)
  if(NOT TARGET aotbuild_own_flags)
    add_library(aotbuild_own_flags INTERFACE IMPORTED GLOBAL)
    set_target_properties(aotbuild_own_flags PROPERTIES INTERFACE_COMPILE_OPTIONS "SHELL:${flags}")
  endif()
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:aotbuild_own_flags>)
endfunction()

# With -ffast-math in the flags, GCC before 13 links code into shared libraries, and every compiler into programs, that
# makes all arithmetic of the process flush small numbers to zero. Keeps it out of <target>. -O3 is for -Ofast.
function(_aotbuild_keep_denormals target)
  if(EMSCRIPTEN)  # there is no such mode
    return()
  endif()
  target_link_options(${target} PRIVATE -fno-fast-math -fno-unsafe-math-optimizations -O3)
endfunction()
