# Part of the installation of an OBJECT library: writes the names of its installed object files, which CMake chooses,
# into the pkg-config file of AOTBUILD_TARGET.
set(libdir "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/${AOTBUILD_LIBDIR}")
set(folder "objects")
if(NOT "${CMAKE_INSTALL_CONFIG_NAME}" STREQUAL "")
  set(folder "objects-${CMAKE_INSTALL_CONFIG_NAME}")
endif()
file(GLOB_RECURSE objects RELATIVE "${libdir}" "${libdir}/${folder}/${AOTBUILD_TARGET}/*")
list(SORT objects)
list(TRANSFORM objects PREPEND "\${libdir}/")
list(JOIN objects " " objects)
configure_file("${libdir}/pkgconfig/${AOTBUILD_TARGET}.pc" "${libdir}/pkgconfig/${AOTBUILD_TARGET}.pc" @ONLY)
