# The rule that runs the generator, of models and of kernels, and the targets <target>.generate and <target>.explain.

# _aotbuild_add_generator([<argument>...]): runs the planned command with further arguments, and adds <target>.tune
# where the plan has it. The command writes the outputs, the depfile and, last, the stamp.
function(_aotbuild_add_generator)
  _aotbuild_fact(generator generator)
  _aotbuild_fact(generator_depends generator_depends)
  set(command "${generator};${plan_command}")  # quoted, so that semicolons in words stay what they are
  list(APPEND command ${ARGN})
  if(AOTBUILD_QUIET)
    list(APPEND command --quiet)
  endif()
  set(database "")
  if(NOT plan_tuning_database STREQUAL "")
    file(GLOB database CONFIGURE_DEPENDS "${plan_tuning_database}")  # CMake runs again when it appears or goes
  endif()
  set(depends ${plan_input} ${plan_config} ${database} ${plan_depends} ${generator_depends})
  set(outputs "${plan_outputs}")
  set(target "${plan_target}")
  set(stamp "${plan_stamp}")
  set(depfile "${plan_depfile}")
  set(read_depfile DEPFILE "${depfile}")
  set(outdated "")
  if(CMAKE_GENERATOR MATCHES "Makefiles")
    set(read_depfile "")
    set(outdated "${plan_output_dir}/${target}.outdated")
  endif()

  _aotbuild_generator_jobs("${target}" "${plan_job_pool}" pool slot)
  # The stamp alone is the OUTPUT: with the real files there, Makefiles run the generator twice on every build for ever
  # after one touch, because files that did not change keep their old times.
  add_custom_command(
    OUTPUT "${stamp}"
    BYPRODUCTS ${outputs} "${depfile}"
    COMMAND ${slot} ${command}
    DEPENDS ${depends} ${outdated}
    ${read_depfile}
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
    ${pool}
    COMMENT "Generating ${target} from ${plan_description}"
    VERBATIM)
  set_source_files_properties(${outputs} PROPERTIES GENERATED TRUE)
  add_custom_target(${target}.generate DEPENDS "${stamp}")
  if(NOT outdated STREQUAL "")
    add_custom_target(${target}.check
      COMMAND "${CMAKE_COMMAND}" "-DOUTDATED=${outdated}" "-DSTAMP=${stamp}" "-DDEPFILE=${depfile}"
              "-DOUTPUTS=${outputs}" -P "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/check_stamp.cmake"
      VERBATIM)
    add_dependencies(${target}.generate ${target}.check)
  endif()
  if(NOT TARGET aotbuild_codegen)
    add_custom_target(aotbuild_codegen)
  endif()
  add_dependencies(aotbuild_codegen ${target}.generate)
  _aotbuild_add_explain("${target}" "${plan_description}" "${stamp}" "${depfile}" "${plan_output_dir}" command depends
                        outputs)
  if(NOT plan_tune STREQUAL "")
    _aotbuild_add_tune()
  endif()
endfunction()

# The library of what <target>.generate writes: <runtime> is what it is linked with. Its AOTBUILD_... properties
# <properties> are those of <target>.generate.
function(_aotbuild_add_library sources runtime properties)
  set(target "${plan_target}")
  set(exclude "")
  if(plan_exclude_from_all)
    set(exclude EXCLUDE_FROM_ALL)
  endif()
  add_library(${target} ${plan_kind} ${exclude} ${sources})
  add_dependencies(${target} ${target}.generate)
  foreach(property IN ITEMS OUTPUT_DIR HEADER HEADER_DIR MANIFEST CUDA_ARCHITECTURES ${properties})
    get_target_property(value ${target}.generate AOTBUILD_${property})
    set_target_properties(${target} PROPERTIES AOTBUILD_${property} "${value}")
  endforeach()
  get_target_property(header_dir ${target} AOTBUILD_HEADER_DIR)
  # SYSTEM: as in an installed package, the project's warnings are for its own code.
  target_include_directories(${target} SYSTEM PUBLIC "$<BUILD_INTERFACE:${header_dir}>")
  target_compile_features(${target} PUBLIC cxx_std_17)
  target_link_libraries(${target} PUBLIC ${runtime})
  _aotbuild_library_properties(${target})
endfunction()
