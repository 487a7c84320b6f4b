# Lies in <environment>/share/cmake/aotbuild, where CMake looks when <environment>/bin is on PATH, and leads on to the
# package inside site-packages.
file(GLOB _aotbuild_candidates LIST_DIRECTORIES true
  "${CMAKE_CURRENT_LIST_DIR}/../../../lib*/python3*/site-packages/aotbuild/cmake"
  "${CMAKE_CURRENT_LIST_DIR}/../../../lib*/python3*/dist-packages/aotbuild/cmake")
list(LENGTH _aotbuild_candidates _aotbuild_count)
if(_aotbuild_count EQUAL 1)
  include("${_aotbuild_candidates}/aotbuildConfig.cmake")
else()
  set(aotbuild_FOUND FALSE)
  string(CONCAT aotbuild_NOT_FOUND_MESSAGE
    "${_aotbuild_count} Python environments below the prefix of ${CMAKE_CURRENT_LIST_DIR} hold aotbuild; one is needed. "
    "Set aotbuild_DIR to what `python -m aotbuild --cmakedir` prints.")
endif()
unset(_aotbuild_candidates)
unset(_aotbuild_count)
