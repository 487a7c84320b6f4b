# Tuning of CUDA models: the database that a build replays, and the targets that measure what it has no line for.

# Checks TUNE and TUNING_DATABASE. Problems go to the caller's `problems`.
function(_aotbuild_check_tune target prefix)
  if(NOT "${${prefix}_DEVICE}" STREQUAL "cuda")
    foreach(keyword IN ITEMS TUNE TUNING_DATABASE)
      if(keyword IN_LIST ${prefix}_KEYWORDS)
        _aotbuild_problem("${keyword} needs DEVICE cuda")
      endif()
    endforeach()
  elseif("${${prefix}_TUNE}" STREQUAL "SEARCH")
    _aotbuild_problem("TUNE SEARCH: a build never searches, so that it gives the same bytes everywhere; use TUNE CACHED, "
                      "and build the target ${target}.tune to search")
  else()
    _aotbuild_check_choice(${prefix} TUNE OFF CACHED)
    if("${${prefix}_TUNE}" STREQUAL "OFF" AND "TUNING_DATABASE" IN_LIST ${prefix}_KEYWORDS)
      _aotbuild_problem("TUNING_DATABASE is not read with TUNE OFF; leave one of them out")
    endif()
  endif()
  set(problems "${problems}" PARENT_SCOPE)
endfunction()

# Sets <out> to the path of the database, "" with TUNE OFF, and <out_depends> to what the generator depends on.
function(_aotbuild_tuning_database target prefix model_file out out_depends)
  set(${out} "" PARENT_SCOPE)
  set(${out_depends} "" PARENT_SCOPE)
  if(NOT "${${prefix}_DEVICE}" STREQUAL "cuda" OR "${${prefix}_TUNE}" STREQUAL "OFF")
    return()
  endif()
  set(database "${${prefix}_TUNING_DATABASE}")
  if(NOT database STREQUAL "")
    cmake_path(ABSOLUTE_PATH database BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE)
  elseif(NOT model_file STREQUAL "")
    cmake_path(ABSOLUTE_PATH model_file BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE OUTPUT_VARIABLE database)
    cmake_path(REPLACE_EXTENSION database LAST_ONLY .tuning)
  else()
    set(database "${CMAKE_CURRENT_SOURCE_DIR}/${target}.tuning")
  endif()
  set(${out} "${database}" PARENT_SCOPE)
  # CMake runs again when the file appears or goes.
  file(GLOB present CONFIGURE_DEPENDS "${database}")
  set(${out_depends} "${present}" PARENT_SCOPE)
endfunction()

# Sets <out> to the target of the program aotbuild-tune, which is made at the first call. It links the C library of the
# machine and nothing else, so that it runs wherever NVIDIA's driver is.
function(_aotbuild_tuner out)
  set(${out} aotbuild_tune_program PARENT_SCOPE)
  if(TARGET aotbuild_tune_program)
    return()
  endif()
  set(cpp "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../../cpp")
  cmake_path(NORMAL_PATH cpp)
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
# <bundle>: the command that makes it. <command_variable> names the list with the generator's command line, of which
# <options>, separated by |, say what is tuned.
function(_aotbuild_add_tune target bundle options database dir command_variable architectures)
  _aotbuild_tuner(tuner)
  set(model "")
  set(is_value OFF)
  foreach(argument IN LISTS ${command_variable})
    if(is_value OR argument MATCHES "^--(${options})$")
      list(APPEND model "${argument}")
      if(is_value OR argument MATCHES "^--[a-z]+=")
        set(is_value OFF)
      else()
        set(is_value ON)
      endif()
    endif()
  endforeach()
  set(architecture "${AOTBUILD_TUNE_ARCHITECTURE}")
  if(architecture STREQUAL "")
    list(GET architectures 0 architecture)
  endif()
  # One tuning has the GPU at a time: under Ninja by the console pool of USES_TERMINAL, and by a lock under Makefiles and
  # between builds. A runner sees to it by itself.
  _aotbuild_gpu_lock(lock)
  set(run "${dir}/tune")
  if(NOT "${AOTBUILD_TUNE_RUNNER}" STREQUAL "")
    list(APPEND run --runner "${AOTBUILD_TUNE_RUNNER}")
    set(lock "")
  endif()
  if(NOT "${AOTBUILD_TUNE_SHARDS}" STREQUAL "")
    list(APPEND run --shards "${AOTBUILD_TUNE_SHARDS}")
  endif()
  add_custom_target(${target}.tune
    COMMAND ${aotbuild_generator} tune ${bundle} ${model} --cuda-architecture "${architecture}"
            --bundle "${dir}/tune" --program "$<TARGET_FILE:${tuner}>"
    COMMAND ${lock} ${aotbuild_generator} tune run ${run}
    COMMAND ${aotbuild_generator} tune merge "${database}" "${dir}/tune"
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
    COMMENT "Tuning ${target} into ${database}"
    USES_TERMINAL
    VERBATIM)
  add_dependencies(${target}.tune ${tuner})
  if(NOT TARGET aotbuild_tune)
    add_custom_target(aotbuild_tune)
  endif()
  add_dependencies(aotbuild_tune ${target}.tune)
endfunction()
