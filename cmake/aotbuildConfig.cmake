# The aotbuild CMake package: find_package(aotbuild REQUIRED), or add_subdirectory() of the repository, ends up here.
#
# Public functions, each with its reference at the top of its file:
#   add_aot_model                a PyTorch model as a library; the sum of those below
#   aotbuild_generate            run the generator: sources, header, manifest
#   aotbuild_add_model_test      compare the library with eager PyTorch, as a ctest
#   aotbuild_add_model_benchmark time the library
#   add_aot_python_extension     an importable Python module of the library
#   aotbuild_install             install libraries so that they need neither aotbuild nor Python
cmake_minimum_required(VERSION 3.24)
include_guard(GLOBAL)

include("${CMAKE_CURRENT_LIST_DIR}/private/Arguments.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Explain.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Isa.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/JobPools.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Python.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Runtime.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Weights.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AotbuildGenerate.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AotbuildAddModelTest.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AotbuildAddModelBenchmark.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AddAotPythonExtension.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AotbuildInstall.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AddAotModel.cmake")
