# An overlay port: vcpkg install scorer --overlay-ports=vcpkg, in an environment that has aotbuild on its PATH.
get_filename_component(SOURCE_PATH "${CURRENT_PORT_DIR}/../.." ABSOLUTE)

find_program(AOTBUILD aotbuild REQUIRED)
execute_process(
  COMMAND "${AOTBUILD}" --cmakedir
  OUTPUT_VARIABLE aotbuild_dir
  OUTPUT_STRIP_TRAILING_WHITESPACE
  COMMAND_ERROR_IS_FATAL ANY)

vcpkg_cmake_configure(SOURCE_PATH "${SOURCE_PATH}" OPTIONS "-Daotbuild_DIR=${aotbuild_dir}")
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH lib/cmake/scorer)
vcpkg_fixup_pkgconfig()

file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/debug/include" "${CURRENT_PACKAGES_DIR}/debug/share")
file(GLOB licences "${CURRENT_PACKAGES_DIR}/share/scorer/licenses/*")
vcpkg_install_copyright(FILE_LIST ${licences})
