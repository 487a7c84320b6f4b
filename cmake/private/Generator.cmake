# The rule that runs the generator, of models and of kernels, and the targets <target>.generate and <target>.explain.

# Sets <out_dir> to the folder that the generator writes to, from OUTPUT_DIR or its default, and HEADER to its default.
# Call it once a target.
function(_aotbuild_choose_outputs prefix target out_dir)
  set(dir "${${prefix}_OUTPUT_DIR}")
  if(dir STREQUAL "")
    set(dir "${target}.aotbuild")
  endif()
  cmake_path(ABSOLUTE_PATH dir BASE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}" NORMALIZE)
  set_property(GLOBAL PROPERTY "_AOTBUILD_OWNER_${dir}" "${target}")
  if("${${prefix}_HEADER}" STREQUAL "")
    set(${prefix}_HEADER "${target}.hpp" PARENT_SCOPE)
  endif()
  set(${out_dir} "${dir}" PARENT_SCOPE)
endfunction()

# The options of the generator that name what is in C++ and C: appended to the list <command_list>.
function(_aotbuild_append_names prefix command_list)
  foreach(keyword IN ITEMS NAMESPACE CLASS_NAME HEADER SYMBOL_PREFIX)
    if(NOT "${${prefix}_${keyword}}" STREQUAL "")
      string(TOLOWER "--${keyword}" option)
      string(REPLACE "_" "-" option "${option}")
      list(APPEND ${command_list} "${option}" "${${prefix}_${keyword}}")
    endif()
  endforeach()
  set(${command_list} "${${command_list}}" PARENT_SCOPE)
endfunction()

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

# The library of what <target>.generate writes: <sources_list> is a list's name, <runtime> what it is linked with. Its
# AOTBUILD_... properties <properties> are those of <target>.generate.
function(_aotbuild_add_library target kind exclude_from_all sources_list runtime properties)
  set(exclude "")
  if(exclude_from_all)
    set(exclude EXCLUDE_FROM_ALL)
  endif()
  add_library(${target} ${kind} ${exclude} ${${sources_list}})
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

# Gives the caller's caller the variables that OUTPUT_TARGETS, HEADER_VAR and MANIFEST_VAR name. A macro, so that its
# scope is the caller's, which has `targets`, `header` and `manifest`.
macro(_aotbuild_set_results)
  foreach(variable IN ITEMS OUTPUT_TARGETS HEADER_VAR MANIFEST_VAR)
    if(NOT "${arg_${variable}}" STREQUAL "")
      string(REGEX REPLACE "^OUTPUT_|_VAR$" "" value "${variable}")
      string(TOLOWER "${value}" value)
      set(${arg_${variable}} "${${value}}" PARENT_SCOPE)
    endif()
  endforeach()
endmacro()
