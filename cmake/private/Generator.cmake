# The rule that runs the generator, of models and of kernels, and the targets <target>.generate and <target>.explain.

# _aotbuild_add_generator(<target> <description> <dir> <job pool> <command> <depends> <outputs>): the last three name lists
# of the caller. The command writes the outputs, <dir>/<target>.d and, last, <dir>/<target>.stamp.
function(_aotbuild_add_generator target description dir job_pool command_list depends_list outputs_list)
  set(command "${${command_list}}")
  set(depends ${${depends_list}} ${aotbuild_generator_depends})
  set(outputs "${${outputs_list}}")
  set(stamp "${dir}/${target}.stamp")
  set(depfile "${dir}/${target}.d")
  set(read_depfile DEPFILE "${depfile}")
  set(outdated "")
  if(CMAKE_GENERATOR MATCHES "Makefiles")
    set(read_depfile "")
    set(outdated "${dir}/${target}.outdated")
  endif()

  _aotbuild_generator_jobs("${target}" "${job_pool}" pool slot)
  # The stamp alone is the OUTPUT: with the real files there, Makefiles run the generator twice on every build for ever
  # after one touch, because files that did not change keep their old times.
  add_custom_command(
    OUTPUT "${stamp}"
    BYPRODUCTS ${outputs} "${depfile}"
    COMMAND ${slot} ${command}
    DEPENDS ${depends} ${outdated}
    ${read_depfile}
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
    JOB_POOL ${pool}
    COMMENT "Generating ${target} from ${description}"
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
  _aotbuild_add_explain("${target}" "${description}" "${stamp}" "${depfile}" "${dir}" command depends outputs)
endfunction()
