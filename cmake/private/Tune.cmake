# Tuning of CUDA models: the database that a build replays, and the targets that measure what it has no line for.

# Sets <out> to the target of the program aotbuild-tune, which is made at the first call. It links the C library of the
# machine and nothing else, so that it runs wherever NVIDIA's driver is.
function(_aotbuild_tuner out)
  set(${out} aotbuild_tune_program PARENT_SCOPE)
  if(TARGET aotbuild_tune_program)
    return()
  endif()
  _aotbuild_fact(cpp cpp)
  include("${cpp}/tools/tune/sources.cmake")
  list(TRANSFORM AOTBUILD_TUNE_SOURCES PREPEND "${cpp}/tools/tune/")
  list(TRANSFORM AOTBUILD_TUNE_RUNTIME_SOURCES PREPEND "${cpp}/src/")
  add_executable(aotbuild_tune_program EXCLUDE_FROM_ALL ${AOTBUILD_TUNE_SOURCES} ${AOTBUILD_TUNE_RUNTIME_SOURCES})
  target_include_directories(aotbuild_tune_program PRIVATE "${cpp}/include" "${cpp}/src")
  _aotbuild_use_json(aotbuild_tune_program)
  target_compile_features(aotbuild_tune_program PRIVATE cxx_std_17)
  target_compile_options(aotbuild_tune_program PRIVATE "$<$<STREQUAL:$<CONFIG>,>:-O2>")
  target_link_options(aotbuild_tune_program PRIVATE -static-libstdc++ -static-libgcc)
  target_link_libraries(aotbuild_tune_program PRIVATE ${CMAKE_DL_LIBS})
  set_target_properties(aotbuild_tune_program PROPERTIES OUTPUT_NAME aotbuild-tune CXX_EXTENSIONS OFF)
endfunction()

# Adds <target>.tune: a bundle of the first architecture, or of AOTBUILD_TUNE_ARCHITECTURE, its run and its results.
function(_aotbuild_add_tune)
  set(target "${plan_target}")
  set(dir "${plan_output_dir}/tune")
  _aotbuild_tuner(tuner)
  set(architecture "${AOTBUILD_TUNE_ARCHITECTURE}")
  if(architecture STREQUAL "")
    list(GET plan_cuda_architectures 0 architecture)
  endif()
  # One tuning has the GPU at a time: under Ninja by the console pool of USES_TERMINAL, and by a lock under Makefiles and
  # between builds. A runner sees to it by itself.
  _aotbuild_gpu_lock(lock)
  set(run "${dir}")
  if(NOT "${AOTBUILD_TUNE_RUNNER}" STREQUAL "")
    list(APPEND run --runner "${AOTBUILD_TUNE_RUNNER}")
    set(lock "")
  endif()
  if(NOT "${AOTBUILD_TUNE_SHARDS}" STREQUAL "")
    list(APPEND run --shards "${AOTBUILD_TUNE_SHARDS}")
  endif()
  _aotbuild_fact(generator generator)
  add_custom_target(${target}.tune
    COMMAND ${generator} tune ${plan_tune} --cuda-architecture "${architecture}"
            --bundle "${dir}" --program "$<TARGET_FILE:${tuner}>"
    COMMAND ${lock} ${generator} tune run ${run}
    COMMAND ${generator} tune merge "${plan_tuning_database}" "${dir}"
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
    COMMENT "Tuning ${target} into ${plan_tuning_database}"
    USES_TERMINAL
    VERBATIM)
  add_dependencies(${target}.tune ${tuner})
  if(NOT TARGET aotbuild_tune)
    add_custom_target(aotbuild_tune)
  endif()
  add_dependencies(aotbuild_tune ${target}.tune)
endfunction()
