# WEIGHTS FILE: the runtime looks for the weights beside the library or program that holds the model.

# Keeps a copy of the model's weights file beside <consumer>, a target of this directory; with WORLD_SIZE of every rank's.
function(_aotbuild_place_weights consumer model)
  get_target_property(weights ${model}.generate AOTBUILD_WEIGHTS_FILE)
  if(NOT weights)
    return()
  endif()
  get_target_property(output_dir ${model}.generate AOTBUILD_OUTPUT_DIR)
  get_target_property(type ${consumer} TYPE)
  if(type STREQUAL "OBJECT_LIBRARY")
    set(destination "${CMAKE_CURRENT_BINARY_DIR}")
  else()
    set(destination "$<TARGET_FILE_DIR:${consumer}>")
  endif()
  # A stamp, because the path of a target can't be an OUTPUT; one for each configuration, as each has its own folder.
  get_property(multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
  set(config "")
  if(multi_config)
    set(config ".$<CONFIG>")
  endif()
  set(stamp "${output_dir}/${consumer}.weights${config}.stamp")
  set(commands "")
  foreach(file IN LISTS weights)
    list(APPEND commands COMMAND "${CMAKE_COMMAND}" "-DSOURCE=${file}" "-DFOLDER=${destination}" "-DCONSUMER=${consumer}"
      -P "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/place_weights.cmake")
  endforeach()
  add_custom_command(
    OUTPUT "${stamp}"
    ${commands}
    COMMAND "${CMAKE_COMMAND}" -E touch "${stamp}"
    DEPENDS ${weights} ${model}.generate
    COMMENT "Copying the weights of ${model} beside ${consumer}"
    VERBATIM)
  add_custom_target(${consumer}.weights DEPENDS "${stamp}")
  add_dependencies(${consumer} ${consumer}.weights)
endfunction()
