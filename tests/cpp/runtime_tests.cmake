# The unit tests of the runtime: `aotbuild_runtime_tests`, linked to the target `aotbuild_runtime`.
find_package(GTest REQUIRED)

add_executable(aotbuild_runtime_tests
    ${CMAKE_CURRENT_LIST_DIR}/runtime_model_test.cpp
)
target_include_directories(aotbuild_runtime_tests PRIVATE ${CMAKE_CURRENT_LIST_DIR}/../../cpp/src)
target_link_libraries(aotbuild_runtime_tests PRIVATE aotbuild_runtime GTest::gtest_main)

include(GoogleTest)
gtest_discover_tests(aotbuild_runtime_tests TEST_PREFIX runtime.)
