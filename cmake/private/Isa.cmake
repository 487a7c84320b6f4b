# The processor that the build is for; python/aotbuild/spec/target.py has its instruction sets.

# Sets <out> to the processor family that the build is for, whose flags differ: x86-64, aarch64, or "" for any other.
function(_aotbuild_processor out)
  set(family "")
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    set(family x86-64)
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
    set(family aarch64)
  endif()
  set(${out} "${family}" PARENT_SCOPE)
endfunction()

# Sets <out> to the processor as the toolchain file names it; Emscripten's says x86.
function(_aotbuild_target_processor out)
  set(${out} "${CMAKE_SYSTEM_PROCESSOR}" PARENT_SCOPE)
  if(EMSCRIPTEN)
    set(${out} wasm32 PARENT_SCOPE)
  endif()
endfunction()
