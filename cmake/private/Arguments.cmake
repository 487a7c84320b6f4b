# Checks the arguments of the public functions that are not planned: every problem of a call in one message.

# _aotbuild_parse(<function> <words>): sets `target` of the caller, arg_<KEYWORD> for each keyword (TRUE for one without a
# value), arg_KEYWORDS to those that were given, `keywords` to all, and `problems` to what is wrong with the words.
function(_aotbuild_parse function words)
  _aotbuild_python()
  _aotbuild_run_plan(${function} "${words}" statements form=cmake)
  cmake_language(EVAL CODE "${statements}")
  foreach(keyword IN LISTS plan_keywords)
    set(arg_${keyword} "${plan_values_${keyword}}" PARENT_SCOPE)
  endforeach()
  set(target "${plan_target}" PARENT_SCOPE)
  set(arg_KEYWORDS "${plan_given}" PARENT_SCOPE)
  set(keywords "${plan_keywords}" PARENT_SCOPE)
  set(problems "${plan_problems}" PARENT_SCOPE)
endfunction()

# Adds a problem to the variable `problems` of the caller; long texts come in two parts.
function(_aotbuild_problem text)
  set(problems "${problems}\n  - ${text}${ARGN}" PARENT_SCOPE)
endfunction()

# Ends the configuration when `problems` of the caller is not empty.
function(_aotbuild_report_problems call)
  if(NOT problems STREQUAL "")
    list(JOIN keywords " " keywords)
    message(FATAL_ERROR "${call}:${problems}\nKeywords: ${keywords}")
  endif()
endfunction()

# Checks that <keyword>'s value matches a regular expression, described as "<expected>".
function(_aotbuild_check_match prefix keyword regex expected)
  set(value "${${prefix}_${keyword}}")
  if(NOT value STREQUAL "" AND NOT value MATCHES "${regex}")
    _aotbuild_problem("${keyword} \"${value}\" is not ${expected}")
  endif()
  set(problems "${problems}" PARENT_SCOPE)
endfunction()

# Checks that <target> is a model whose library is of <type>; <otherwise> says what to do. Problems go to the caller.
function(_aotbuild_check_model_type target type otherwise)
  if(target STREQUAL "")  # a problem of its own
  elseif(NOT TARGET "${target}" OR NOT TARGET "${target}.generate")
    _aotbuild_problem("\"${target}\" is no model; make it with add_aot_model before this call")
  else()
    get_target_property(actual ${target} TYPE)
    if(NOT actual STREQUAL type)
      _aotbuild_problem("\"${target}\" is ${otherwise}")
    endif()
  endif()
  set(problems "${problems}" PARENT_SCOPE)
endfunction()
