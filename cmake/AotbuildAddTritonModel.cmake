#[=[.md:
## `aotbuild_add_triton_model`

    aotbuild_add_triton_model(<target> [NAME name] [VERSION number]
      [MAX_BATCH rows] [DYNAMIC_BATCHING] [PREFERRED_BATCH rows ...] [QUEUE_DELAY microseconds]
      [INSTANCES count] [THREADS count] [SEQUENCES count] [SEQUENCE_IDLE microseconds] [GENERATE prompt next]
      [LABELS file] [REPOSITORY dir] [EXCLUDE_FROM_ALL])

Makes the shared model `<target>` a model of Triton Inference Server: a folder of a model repository with
`config.pbtxt`, `README.md` and the version folder, written while building from the model's manifest, and the backend
that serves all models, `libtriton_aotbuild.so`. See [Serving](serving.md).

    add_aot_model(encoder SHARED MODEL encoder.py:build)
    aotbuild_add_triton_model(encoder DYNAMIC_BATCHING)

    tritonserver --model-repository=build/triton/models --backend-directory=build/triton/backends

| keyword | default | meaning | refused |
|---|---|---|---|
| `<target>` | required | a model that `add_aot_model` made `SHARED` | anything else |
| `NAME name` | the target | the model's name in the server, and its folder's | a name with `/`, blanks or quotes |
| `VERSION number` | 1 | the version folder; models of one `NAME` may have several, of different targets | no number from 1 on |
| `MAX_BATCH rows` | what the model takes, at most 64 | `max_batch_size`; 0: the server sees no batch | no number; more rows than the model takes; a model without a batch, one with state or with `METHODS` (while building) |
| `DYNAMIC_BATCHING` | | the server joins requests that wait along dimension 0. Rows of the model's batch must not depend on one another | a model without a batch, one with state or with `METHODS` (while building); a value |
| `PREFERRED_BATCH rows ...` | none | sizes of batches that are not waited for | no number; without `DYNAMIC_BATCHING` |
| `QUEUE_DELAY microseconds` | 0 | how long a request waits for others to join | no number; without `DYNAMIC_BATCHING` |
| `INSTANCES count` | 1 | calls that run at the same time, over one set of weights | no number from 1 on |
| `THREADS count` | what OpenMP says | threads of one call | no number from 1 on |
| `SEQUENCES count` | 64 for a model with state, else none | requests belong to sequences, each with a session; so many at a time. With `GENERATE`: so many have a session at a time | no number from 1 on |
| `SEQUENCE_IDLE microseconds` | 1000000 | a sequence that is idle for longer loses its session | no number from 1 on; with `GENERATE` |
| `GENERATE prompt next` | | tokens are generated and sent as they come: the method that reads a prompt, and the one that takes a token | anything but two methods; methods that do not take one int64 tensor and give float32 logits, `MAX_BATCH`, `DYNAMIC_BATCHING` (while building) |
| `LABELS file` | none | a line for each class of the first output, for the server's classification | a file that does not exist; with `GENERATE` |
| `REPOSITORY dir` | `${CMAKE_BINARY_DIR}/triton/models` | the model repository | more than one |
| `EXCLUDE_FROM_ALL` | | the target `<target>.triton` is built only on demand | a value |

Targets: `<target>.triton` (`<target>.triton.<version>` from version 2 on) and `aotbuild_triton`, the backend, in
`${CMAKE_BINARY_DIR}/triton/backends`. `aotbuild_install` installs both into `share/<package>/triton`.
#]=]
function(aotbuild_add_triton_model)
  _aotbuild_parse(aotbuild_add_triton_model "${ARGV}")
  _aotbuild_check_model_type("${target}" SHARED_LIBRARY "nothing that a server can load; make it SHARED")
  _aotbuild_check_match(arg NAME "^[^/\\\"' \t]+$" "a name without / and blanks")
  foreach(keyword IN ITEMS VERSION INSTANCES THREADS SEQUENCES SEQUENCE_IDLE)
    _aotbuild_check_match(arg ${keyword} "^[1-9][0-9]*$" "a number from 1 on")
  endforeach()
  foreach(keyword IN ITEMS MAX_BATCH QUEUE_DELAY)
    _aotbuild_check_match(arg ${keyword} "^[0-9]+$" "a number")
  endforeach()
  _aotbuild_check_match(arg PREFERRED_BATCH "^[1-9][0-9]*(;[1-9][0-9]*)*$" "a list of numbers from 1 on")
  _aotbuild_check_triton_keywords()
  _aotbuild_report_problems("aotbuild_add_triton_model(${target})")

  set(name "${arg_NAME}")
  if(name STREQUAL "")
    set(name ${target})
  endif()
  if(arg_VERSION STREQUAL "")
    set(arg_VERSION 1)
  endif()
  if(arg_REPOSITORY STREQUAL "")
    set(arg_REPOSITORY "${CMAKE_BINARY_DIR}/triton/models")
  endif()
  cmake_path(ABSOLUTE_PATH arg_REPOSITORY BASE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}" NORMALIZE)
  _aotbuild_triton_options(options)
  _aotbuild_add_triton_folder(${target} "${name}" ${arg_VERSION} "${arg_REPOSITORY}/${name}" "${options}"
    "${arg_EXCLUDE_FROM_ALL}")
endfunction()

# Adds the caller's problems with keywords that do not go together.
macro(_aotbuild_check_triton_keywords)
  if(TARGET "${target}.generate")
    get_target_property(world_size ${target}.generate AOTBUILD_WORLD_SIZE)
    if(world_size)
      _aotbuild_problem("\"${target}\" has WORLD_SIZE ${world_size}, and a server makes one rank; leave one of them out")
    endif()
  endif()
  foreach(keyword IN ITEMS PREFERRED_BATCH QUEUE_DELAY)
    if(keyword IN_LIST arg_KEYWORDS AND NOT arg_DYNAMIC_BATCHING)
      _aotbuild_problem("${keyword} needs DYNAMIC_BATCHING; add it, or leave ${keyword} out")
    endif()
  endforeach()
  if("GENERATE" IN_LIST arg_KEYWORDS)
    list(LENGTH arg_GENERATE count)
    if(NOT count EQUAL 2)
      _aotbuild_problem("GENERATE takes two methods, one for the prompt and one for each token, got \"${arg_GENERATE}\"")
    endif()
    foreach(keyword IN ITEMS SEQUENCE_IDLE LABELS)
      if(keyword IN_LIST arg_KEYWORDS)
        _aotbuild_problem("GENERATE and ${keyword} exclude each other; leave out one of them")
      endif()
    endforeach()
  endif()
  if(NOT arg_LABELS STREQUAL "")
    cmake_path(ABSOLUTE_PATH arg_LABELS BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE)
    if(NOT EXISTS "${arg_LABELS}" OR IS_DIRECTORY "${arg_LABELS}")
      _aotbuild_problem("LABELS: ${arg_LABELS} does not exist, or is a folder; name a file with a label in each line")
    endif()
  endif()
endmacro()

# Sets <out> to the keywords of the caller as options of cmake/private/triton.py.
function(_aotbuild_triton_options out)
  set(options "")
  foreach(pair IN ITEMS MAX_BATCH=max-batch INSTANCES=instances THREADS=threads QUEUE_DELAY=delay SEQUENCES=sequences
      SEQUENCE_IDLE=idle LABELS=labels PREFERRED_BATCH=preferred GENERATE=generate)
    string(REPLACE "=" ";" pair "${pair}")
    list(GET pair 0 keyword)
    list(GET pair 1 option)
    if(NOT arg_${keyword} STREQUAL "")
      list(APPEND options "--${option}" ${arg_${keyword}})
    endif()
  endforeach()
  if(arg_DYNAMIC_BATCHING)
    list(APPEND options --batching)
  endif()
  set(${out} "${options}" PARENT_SCOPE)
endfunction()

# The rule that writes a version of a model into <folder>, and its target.
function(_aotbuild_add_triton_folder target name version folder options exclude)
  _aotbuild_triton_backend(backend)
  _aotbuild_fact(python python)
  _aotbuild_fact(package_path package_path)
  get_target_property(manifest ${target}.generate AOTBUILD_MANIFEST)
  get_target_property(output_dir ${target}.generate AOTBUILD_OUTPUT_DIR)
  _aotbuild_triton_files(${target} files)
  set(words "")
  foreach(file IN LISTS files)
    list(APPEND words --file "${file}")
  endforeach()
  # The library is copied: it has to find the runtime beside it.
  set_property(TARGET ${target} APPEND PROPERTY BUILD_RPATH "$ORIGIN")
  set_property(TARGET ${target} APPEND PROPERTY AOTBUILD_TRITON_FOLDERS "${folder}/${version}")
  set(rule ${target}.triton)
  if(version GREATER 1)
    string(APPEND rule ".${version}")
  endif()
  set(stamp "${output_dir}/${rule}.stamp")
  file(GLOB sources "${package_path}/aotbuild/serve/*.py")
  add_custom_command(
    OUTPUT "${stamp}"
    COMMAND "${python}" -I -S "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/private/triton.py" "${package_path}"
            --manifest "${manifest}" --folder "${folder}" --name "${name}" --version ${version}
            --library "$<TARGET_FILE:${target}>" ${words} ${options}
    COMMAND "${CMAKE_COMMAND}" -E touch "${stamp}"
    DEPENDS ${target} aotbuild_runtime_shared ${backend} ${target}.generate ${sources}
            "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/private/triton.py"
    COMMENT "Making the folder of ${name} for Triton Inference Server"
    VERBATIM)
  if(exclude)
    add_custom_target(${rule} DEPENDS "${stamp}")
  else()
    add_custom_target(${rule} ALL DEPENDS "${stamp}")
  endif()
  add_dependencies(${rule} ${backend})
endfunction()
