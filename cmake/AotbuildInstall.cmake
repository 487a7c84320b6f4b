#[=[.md:
## `aotbuild_install`

    aotbuild_install(TARGETS <target> ... [PACKAGE name] [NAMESPACE prefix::] [VERSION version] [COMPONENT component])
    aotbuild_install(TARGETS <target> ... PYTHON_PACKAGE dir [COMPONENT component])

Installs libraries of models so that a machine with a C++ compiler, but no Python, torch or aotbuild, can use them by
`find_package(<package>)` and `target_link_libraries(app <prefix>::<target>)`, or by `pkg-config <target>`. The installed
tree is relocatable: it names no path outside itself.

| keyword | default | meaning | refused |
|---|---|---|---|
| `TARGETS target ...` | required | libraries made by `add_aot_model`: STATIC, SHARED or OBJECT | what is no model; one twice |
| `PACKAGE name` | `PROJECT_NAME` | the name for `find_package` | the package of a call before; a name with `/` or blanks |
| `NAMESPACE prefix::` | `<package>::` | prefix of the imported targets | a prefix that does not end in `::` |
| `VERSION version` | `PROJECT_VERSION` | the package's version; any version of the same major one satisfies a request | anything but numbers and dots |
| `PYTHON_PACKAGE dir` | | a folder below the prefix | an absolute path; with one of the three above; a model that Python can't load: neither SHARED nor with `PYTHON_MODULE` |
| `COMPONENT component` | `Unspecified` | the install component of everything | more than one |

Installed below the prefix: the models' libraries in `lib`, with weights files of `WEIGHTS FILE` beside them, and their
headers in `include`. What models share is the package's own, so that packages of several projects, and of several
versions of aotbuild, fit under one prefix: the runtime, oneDNN and Sleef in `lib/<package>`, aotbuild's headers in
`include/<package>`; manifests and the licences of all that is inside in `share/<package>`; `lib/cmake/<package>`
and `lib/pkgconfig`. A static model with `WEIGHTS FILE` looks for its weights beside the program:
copy the file that the imported target names in its property `AOTBUILD_WEIGHTS_FILE`.

Models with `RUNTIME torch` need libtorch of the version that they were built with, which is not installed: on the
machine that uses them `find_package(<package>)` takes the one that `Torch_DIR` or `CMAKE_PREFIX_PATH` name, and programs
that are to run elsewhere have to find its libraries (`LD_LIBRARY_PATH`, or an `INSTALL_RPATH` of the program's).

With `PYTHON_PACKAGE dir` it installs what a Python package needs to run the models, all into `dir`, and nothing else: the
extension modules of targets with `PYTHON_MODULE` and their type stubs, shared libraries of models, weights files, and
the libraries that those load. `examples/python_wheel` makes a wheel with it. Models with `RUNTIME torch` load libtorch
of the Python package `torch` in the same environment.
#]=]
function(aotbuild_install)
  _aotbuild_parse(aotbuild_install "${ARGV}")
  if(NOT "TARGETS" IN_LIST arg_KEYWORDS)
    _aotbuild_problem("TARGETS is missing; name the libraries to install")
  endif()
  set(seen "")
  foreach(target IN LISTS arg_TARGETS)
    if(NOT TARGET "${target}" OR NOT TARGET "${target}.generate")
      _aotbuild_problem("\"${target}\" is no model; make it with add_aot_model before this call")
    endif()
    if(target IN_LIST seen)
      _aotbuild_problem("TARGETS names \"${target}\" more than once; keep one of them")
    endif()
    list(APPEND seen "${target}")
  endforeach()
  if("PYTHON_PACKAGE" IN_LIST arg_KEYWORDS)
    foreach(keyword IN ITEMS PACKAGE NAMESPACE VERSION)
      if(keyword IN_LIST arg_KEYWORDS)
        _aotbuild_problem("PYTHON_PACKAGE and ${keyword} exclude each other; leave out one of them")
      endif()
    endforeach()
    _aotbuild_check_match(arg PYTHON_PACKAGE "^[^/]" "a folder below the install prefix")
    foreach(target IN LISTS arg_TARGETS)
      if(TARGET "${target}" AND TARGET "${target}.generate")
        get_target_property(type ${target} TYPE)
        get_target_property(module ${target}.generate AOTBUILD_PYTHON_MODULE)
        if(NOT module AND NOT type STREQUAL "SHARED_LIBRARY")
          _aotbuild_problem("\"${target}\" is nothing that Python can load; make it SHARED or give it a PYTHON_MODULE")
        endif()
      endif()
    endforeach()
  endif()
  _aotbuild_check_match(arg PACKAGE "^[A-Za-z_][A-Za-z0-9_.+-]*$" "a package name")
  _aotbuild_check_match(arg NAMESPACE "^[A-Za-z_][A-Za-z0-9_.+-]*::$" "a prefix that ends in ::")
  _aotbuild_check_match(arg VERSION "^[0-9]+(\\.[0-9]+)*$" "a version such as 1.2.3")
  set(package "${arg_PACKAGE}")
  if(package STREQUAL "")
    set(package "${PROJECT_NAME}")
  endif()
  get_property(packages GLOBAL PROPERTY _AOTBUILD_PACKAGES)
  if(arg_PYTHON_PACKAGE STREQUAL "" AND package IN_LIST packages)
    _aotbuild_problem("the package \"${package}\" is made by a call before; name all its TARGETS there, or choose another "
                      "PACKAGE")
  endif()
  list(JOIN arg_TARGETS " " call)
  _aotbuild_report_problems("aotbuild_install(${call})")

  set(component "")
  if(NOT arg_COMPONENT STREQUAL "")
    set(component COMPONENT "${arg_COMPONENT}")
  endif()
  if(NOT arg_PYTHON_PACKAGE STREQUAL "")
    _aotbuild_install_python_package("${arg_TARGETS}" "${arg_PYTHON_PACKAGE}" "${component}")
    return()
  endif()

  include(GNUInstallDirs)
  include(CMakePackageConfigHelpers)
  set_property(GLOBAL APPEND PROPERTY _AOTBUILD_PACKAGES "${package}")
  set(arg_PACKAGE "${package}")
  if(arg_NAMESPACE STREQUAL "")
    set(arg_NAMESPACE "${arg_PACKAGE}::")
  endif()
  if(arg_VERSION STREQUAL "")
    set(arg_VERSION "${PROJECT_VERSION}")
  endif()
  set(config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/${arg_PACKAGE}")
  set(package_dir "${CMAKE_CURRENT_BINARY_DIR}/${arg_PACKAGE}.package")

  # Libraries, and what they need beside them.
  set(runtimes "")
  set(static FALSE)
  set(torch_version "")  # of the libtorch that some model needs
  foreach(target IN LISTS arg_TARGETS)
    get_target_property(type ${target} TYPE)
    get_target_property(runtime ${target}.generate AOTBUILD_RUNTIME)
    if(type STREQUAL "SHARED_LIBRARY")
      list(APPEND runtimes aotbuild_runtime_shared)
    else()
      list(APPEND runtimes aotbuild_runtime)
      set(static TRUE)
    endif()
    if(runtime STREQUAL "torch")
      get_target_property(torch_version ${target}.generate AOTBUILD_TORCH_VERSION)
      if(NOT type STREQUAL "SHARED_LIBRARY")
        list(APPEND runtimes aotbuild_runtime_torch)
      endif()
    endif()
  endforeach()
  list(REMOVE_DUPLICATES runtimes)
  set(own_libdir "${CMAKE_INSTALL_LIBDIR}/${arg_PACKAGE}")
  set(own_includedir "${CMAKE_INSTALL_INCLUDEDIR}/${arg_PACKAGE}")
  set_property(TARGET ${arg_TARGETS} APPEND PROPERTY INSTALL_RPATH "$ORIGIN/${arg_PACKAGE}")
  install(TARGETS ${arg_TARGETS} EXPORT ${arg_PACKAGE}Targets
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" ${component}
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" ${component}
    OBJECTS DESTINATION "${CMAKE_INSTALL_LIBDIR}" ${component}
    INCLUDES DESTINATION "${own_includedir}" "${CMAKE_INSTALL_INCLUDEDIR}")
  install(TARGETS ${runtimes} EXPORT ${arg_PACKAGE}Targets
    ARCHIVE DESTINATION "${own_libdir}" ${component}
    LIBRARY DESTINATION "${own_libdir}" ${component}
    INCLUDES DESTINATION "${own_includedir}")
  install(EXPORT ${arg_PACKAGE}Targets NAMESPACE "${arg_NAMESPACE}" DESTINATION "${config_dir}" ${component})
  set(imported_libraries "")  # name=file for the package, and -l:file for pkg-config
  set(imported_flags "")
  foreach(name IN ITEMS dnnl sleef)
    if(TARGET aotbuild::${name})
      _aotbuild_installed_name(${name} file file_name)
      install(FILES "${file}" RENAME "${file_name}" DESTINATION "${own_libdir}" ${component})
      string(APPEND imported_libraries " \"${name}=${file_name}\"")
      string(APPEND imported_flags " -l:${file_name}")
    endif()
  endforeach()

  # Headers, weights, manifests, pkg-config.
  install(DIRECTORY "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../cpp/include/" DESTINATION "${own_includedir}" ${component})
  _aotbuild_install_licenses("${CMAKE_INSTALL_DATADIR}/${arg_PACKAGE}/licenses" "${component}")
  cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY "${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/pkgconfig"
    OUTPUT_VARIABLE prefix_from_pkgconfig)
  set(pkg_config_version "${arg_VERSION}")
  if(pkg_config_version STREQUAL "")  # pkg-config wants one
    set(pkg_config_version 0)
  endif()
  set(weights_properties "")
  foreach(target IN LISTS arg_TARGETS)
    foreach(property IN ITEMS HEADER_DIR MANIFEST WEIGHTS_FILE)
      get_target_property(${property} ${target}.generate AOTBUILD_${property})
    endforeach()
    install(DIRECTORY "${HEADER_DIR}/" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" ${component})
    install(FILES "${MANIFEST}" DESTINATION "${CMAKE_INSTALL_DATADIR}/${arg_PACKAGE}" ${component})
    if(WEIGHTS_FILE)
      install(FILES "${WEIGHTS_FILE}" DESTINATION "${CMAKE_INSTALL_LIBDIR}" ${component})
      cmake_path(GET WEIGHTS_FILE FILENAME file_name)
      string(APPEND weights_properties
        "set_target_properties(${arg_NAMESPACE}${target} PROPERTIES "
        "AOTBUILD_WEIGHTS_FILE \"\${PACKAGE_PREFIX_DIR}/${CMAKE_INSTALL_LIBDIR}/${file_name}\")\n")
    endif()
    get_target_property(type ${target} TYPE)
    set(libraries "-l${target} -laotbuild_runtime${imported_flags} -fopenmp -ldl -lstdc++ -lm")
    get_target_property(runtime ${target}.generate AOTBUILD_RUNTIME)
    if(runtime STREQUAL "torch")
      string(REPLACE " -laotbuild_runtime" " -laotbuild_runtime_torch -laotbuild_runtime" libraries "${libraries}")
      string(APPEND libraries " -ltorch_cpu -lc10")
    endif()
    if(type STREQUAL "SHARED_LIBRARY")
      set(libraries "-l${target} -laotbuild_runtime_shared")
    elseif(type STREQUAL "OBJECT_LIBRARY")
      string(REPLACE "-l${target} " "@objects@ " libraries "${libraries}")
    endif()
    configure_file("${CMAKE_CURRENT_FUNCTION_LIST_DIR}/private/model.pc.in" "${package_dir}/${target}.pc" @ONLY)
    install(FILES "${package_dir}/${target}.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" ${component})
    if(type STREQUAL "OBJECT_LIBRARY")
      install(CODE "set(AOTBUILD_TARGET \"${target}\")" ${component})
      install(CODE "set(AOTBUILD_LIBDIR \"${CMAKE_INSTALL_LIBDIR}\")" ${component})
      install(SCRIPT "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/private/list_objects.cmake" ${component})
    endif()
  endforeach()

  # The CMake package. Static models need OpenMP's library by name; no compiler is asked for it again.
  set(openmp_libraries "${OpenMP_CXX_LIB_NAMES}")
  list(TRANSFORM openmp_libraries PREPEND "-l")
  configure_package_config_file("${CMAKE_CURRENT_FUNCTION_LIST_DIR}/private/packageConfig.cmake.in"
    "${package_dir}/${arg_PACKAGE}Config.cmake" INSTALL_DESTINATION "${config_dir}"
    NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
  set(package_files "${package_dir}/${arg_PACKAGE}Config.cmake")
  if(NOT torch_version STREQUAL "")
    list(APPEND package_files "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/private/Torch.cmake")
  endif()
  if(NOT arg_VERSION STREQUAL "")
    write_basic_package_version_file("${package_dir}/${arg_PACKAGE}ConfigVersion.cmake"
      VERSION "${arg_VERSION}" COMPATIBILITY SameMajorVersion)
    list(APPEND package_files "${package_dir}/${arg_PACKAGE}ConfigVersion.cmake")
  endif()
  install(FILES ${package_files} DESTINATION "${config_dir}" ${component})
endfunction()

# Modules, stubs, shared libraries and weights, beside one another: each looks for the others in its own folder.
function(_aotbuild_install_python_package targets destination component)
  set(libraries "")
  foreach(target IN LISTS targets)
    get_target_property(type ${target} TYPE)
    get_target_property(module ${target}.generate AOTBUILD_PYTHON_MODULE)
    get_target_property(runtime ${target}.generate AOTBUILD_RUNTIME)
    set(rpath "$ORIGIN")
    if(runtime STREQUAL "torch")  # the package torch lies beside the one that is installed
      string(REGEX REPLACE "[^/]+" ".." up "${destination}")
      list(APPEND rpath "$ORIGIN/${up}/torch/lib")
    endif()
    if(type STREQUAL "SHARED_LIBRARY")
      list(APPEND libraries ${target} aotbuild_runtime_shared)
      set_property(TARGET ${target} APPEND PROPERTY INSTALL_RPATH "${rpath}")
    endif()
    if(module)
      list(APPEND libraries ${module})
      set_property(TARGET ${module} APPEND PROPERTY INSTALL_RPATH "${rpath}")
      get_target_property(stub ${target}.generate AOTBUILD_PYTHON_STUB)
      install(FILES "${stub}" DESTINATION "${destination}" ${component})
    endif()
    get_target_property(weights_file ${target}.generate AOTBUILD_WEIGHTS_FILE)
    if(weights_file)
      install(FILES "${weights_file}" DESTINATION "${destination}" ${component})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES libraries)
  install(TARGETS ${libraries} LIBRARY DESTINATION "${destination}" ${component} NAMELINK_SKIP)
  _aotbuild_install_licenses("${destination}/licenses" "${component}")
  foreach(name IN ITEMS dnnl sleef)
    if(TARGET aotbuild::${name})
      _aotbuild_installed_name(${name} file file_name)
      install(FILES "${file}" RENAME "${file_name}" DESTINATION "${destination}" ${component})
    endif()
  endforeach()
endfunction()

# Installs the licences of what an installed model holds or brings: all but the project's own.
function(_aotbuild_install_licenses folder component)
  set(names aotbuild PyTorch Sleef nlohmann-json Eigen)
  if(TARGET aotbuild::dnnl)
    list(APPEND names oneDNN)
  endif()
  list(TRANSFORM names REPLACE ".+" "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/private/licenses/\\0.txt" OUTPUT_VARIABLE files)
  install(FILES ${files} DESTINATION "${folder}" ${component})
endfunction()

# Sets <out_file> to the library behind aotbuild::<name>, and <out_name> to the name that programs load it by.
function(_aotbuild_installed_name name out_file out_name)
  get_target_property(location aotbuild::${name} IMPORTED_LOCATION)
  file(REAL_PATH "${location}" file)
  cmake_path(GET location FILENAME loaded_as)
  # A shared library is loaded by its soname, which is the file with one number after .so.
  file(GLOB versions "${location}.*")
  foreach(version IN LISTS versions)
    if(version MATCHES "\\.so\\.[0-9]+$")
      cmake_path(GET version FILENAME loaded_as)
    endif()
  endforeach()
  set(${out_file} "${file}" PARENT_SCOPE)
  set(${out_name} "${loaded_as}" PARENT_SCOPE)
endfunction()
