#[=[.md:
## `aotbuild_add_model_test`

    aotbuild_add_model_test(<target> [LABELS label ...] [EXCLUDE_FROM_ALL])

Adds the executable `<target>_test` and the ctest `<target>`, which runs the library on the inputs recorded while
generating and compares its outputs with eager PyTorch's. `<target>` is a library of a model that `aotbuild_generate` or
`add_aot_model` made without `NO_TEST`. Needs GoogleTest: the project's own, or the one that `find_package(GTest)`
finds.

| keyword | default | meaning | refused |
|---|---|---|---|
| `<target>` | required | a library of a model | anything but a model; a model with `NO_TEST` |
| `LABELS label ...` | none | labels of the ctest besides `aotbuild` | no label |
| `EXCLUDE_FROM_ALL` | | the executable is built only on demand | a value |

Cross-compiled tests run through `CMAKE_CROSSCOMPILING_EMULATOR`. The test of a model for CUDA is skipped on a machine
without a driver or a device that loads it; the executable says why and returns 77.
#]=]
function(aotbuild_add_model_test)
  _aotbuild_parse(aotbuild_add_model_test "${ARGV}")
  _aotbuild_check_model_library("${target}" TEST_SOURCE "the model was made with NO_TEST, which leaves out its test; remove it there")
  _aotbuild_report_problems("aotbuild_add_model_test(${target})")
  _aotbuild_add_test("${target}" "${arg_LABELS}" "${arg_EXCLUDE_FROM_ALL}")
endfunction()

function(_aotbuild_add_test target labels exclude)
  if(NOT TARGET GTest::gtest)
    find_package(GTest QUIET)
    if(NOT TARGET GTest::gtest)
      message(FATAL_ERROR
        "aotbuild_add_model_test(${target}): GoogleTest was not found.\n"
        "Install it (Debian's libgtest-dev), or pass NO_TEST to add_aot_model to go without the test.")
    endif()
  endif()
  get_target_property(golden ${target}.generate AOTBUILD_GOLDEN)
  _aotbuild_add_model_program(${target} ${target}_test TEST_SOURCE GTest::gtest "${exclude}")
  add_test(NAME ${target} COMMAND ${target}_test "${golden}")
  set_tests_properties(${target} PROPERTIES LABELS "aotbuild;${labels}" SKIP_RETURN_CODE 77)
endfunction()

# Checks that <target> is a library of a model with the generated source <property>. Problems go to the caller.
function(_aotbuild_check_model_library target property missing)
  if(target STREQUAL "")  # a problem of its own
  elseif(NOT TARGET "${target}" OR NOT TARGET "${target}.generate")
    _aotbuild_problem("\"${target}\" is no model; make it with add_aot_model before this call")
  else()
    get_target_property(source ${target}.generate AOTBUILD_${property})
    if(NOT source)
      _aotbuild_problem("${missing}")
    endif()
  endif()
  set(problems "${problems}" PARENT_SCOPE)
endfunction()

# An executable of one generated source, linked to the model and a library.
function(_aotbuild_add_model_program target program property library exclude)
  get_target_property(source ${target}.generate AOTBUILD_${property})
  set_source_files_properties("${source}" PROPERTIES GENERATED TRUE)
  _aotbuild_set_plain_properties("${source}")
  if(exclude)
    set(exclude EXCLUDE_FROM_ALL)
  else()
    set(exclude "")
  endif()
  add_executable(${program} ${exclude} "${source}")
  add_dependencies(${program} ${target}.generate)
  _aotbuild_testing()
  target_link_libraries(${program} PRIVATE ${target} aotbuild_testing ${library})
  set_target_properties(${program} PROPERTIES CXX_EXTENSIONS OFF)
  _aotbuild_keep_denormals(${program})
  _aotbuild_place_weights(${program} ${target})
endfunction()

# Makes aotbuild_testing at the first call: what the generated programs share, so that none compiles a JSON parser.
function(_aotbuild_testing)
  if(TARGET aotbuild_testing)
    return()
  endif()
  _aotbuild_fact(cpp cpp)
  add_library(aotbuild_testing STATIC EXCLUDE_FROM_ALL "${cpp}/testing/golden.cpp")
  target_include_directories(aotbuild_testing SYSTEM PRIVATE "${cpp}/include")
  target_compile_features(aotbuild_testing PRIVATE cxx_std_17)
  _aotbuild_use_json(aotbuild_testing)
  _aotbuild_prefix_maps(maps)
  target_compile_options(aotbuild_testing PRIVATE ${maps})
  _aotbuild_use_own_flags(aotbuild_testing)
  _aotbuild_library_properties(aotbuild_testing)
endfunction()
