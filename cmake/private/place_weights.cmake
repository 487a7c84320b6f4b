# Copies SOURCE into FOLDER for CONSUMER if it differs: by renaming, because the other programs of the folder get the
# same file at the same time, and one that runs has it mapped.
cmake_path(GET SOURCE FILENAME name)
execute_process(COMMAND "${CMAKE_COMMAND}" -E compare_files "${SOURCE}" "${FOLDER}/${name}"
  RESULT_VARIABLE differs OUTPUT_QUIET ERROR_QUIET)
if(differs)
  file(COPY_FILE "${SOURCE}" "${FOLDER}/.${name}.${CONSUMER}.tmp")
  file(RENAME "${FOLDER}/.${name}.${CONSUMER}.tmp" "${FOLDER}/${name}")
endif()
