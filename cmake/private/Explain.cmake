# The target <target>.explain.

# Sets <out> to a JSON array of the strings of a list of the caller. All at once: a loop over outputs takes as long as all
# else that is done for a model.
function(_aotbuild_json_strings list out)
  string(ASCII 31 separator)
  list(JOIN ${list} "${separator}" text)
  _aotbuild_json_string("${text}" text)
  string(REPLACE "${separator}" "\", \"" text "${text}")
  if(text STREQUAL "\"\"")
    set(text "")
  endif()
  set(${out} "[${text}]" PARENT_SCOPE)
endfunction()

function(_aotbuild_json_string text out)
  string(REPLACE "\\" "\\\\" text "${text}")
  string(REPLACE "\"" "\\\"" text "${text}")
  set(${out} "\"${text}\"" PARENT_SCOPE)
endfunction()

# _aotbuild_add_explain(<target> <model> <stamp> <depfile> <dir> <command> <depends> <outputs>): the last three name lists
# of the caller.
function(_aotbuild_add_explain target model stamp depfile dir command_list depends_list outputs_list)
  foreach(name IN ITEMS target model stamp depfile CMAKE_CURRENT_SOURCE_DIR)
    _aotbuild_json_string("${${name}}" json_${name})
  endforeach()
  foreach(name IN ITEMS command depends outputs)
    _aotbuild_json_strings(${${name}_list} json_${name})
  endforeach()
  set(request "${CMAKE_CURRENT_BINARY_DIR}/CMakeFiles/${target}.explain_request.json")
  file(WRITE "${request}"
    "{\"target\": ${json_target}, \"model\": ${json_model}, \"directory\": ${json_CMAKE_CURRENT_SOURCE_DIR}, "
    "\"stamp\": ${json_stamp}, \"depfile\": ${json_depfile}, \"command\": ${json_command}, "
    "\"depends\": ${json_depends}, \"outputs\": ${json_outputs}}\n")
  _aotbuild_fact(python python)
  add_custom_target(${target}.explain
    COMMAND "${python}" "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/explain.py" "${request}"
            "${dir}/${target}.explain.json"
    COMMENT "Explaining ${target}"
    VERBATIM)
endfunction()
