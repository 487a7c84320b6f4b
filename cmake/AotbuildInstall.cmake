#[=[.md:
## `aotbuild_install`

    aotbuild_install(TARGETS <target> ... [PACKAGE name] [NAMESPACE prefix::]
      [VERSION version] [COMPATIBILITY compatibility] [COMPONENT component])
    aotbuild_install(TARGETS <target> ... PYTHON_PACKAGE dir [COMPONENT component])

Installs libraries of models so that a machine with a C++ compiler, but no Python, torch or aotbuild, can use them by
`find_package(<package>)` and `target_link_libraries(app <prefix>::<target>)`, or by `pkg-config <target>`. The
installed tree is relocatable: it names no path outside itself.

| keyword | default | meaning | refused |
|---|---|---|---|
| `TARGETS target ...` | required | libraries made by `add_aot_model`: STATIC, SHARED or OBJECT | anything but a model; one twice |
| `PACKAGE name` | `PROJECT_NAME` | the name for `find_package` | the package of a call before; a name with `/` or blanks |
| `NAMESPACE prefix::` | `<package>::` | prefix of the imported targets | a prefix that does not end in `::` |
| `VERSION version` | `PROJECT_VERSION` | the package's version | anything but numbers and dots |
| `COMPATIBILITY compatibility` | `SameMajorVersion` | which requests the version satisfies, in the words of CMake's `write_basic_package_version_file`: also `SameMinorVersion`, `ExactVersion`, `AnyNewerVersion` | another word |
| `PYTHON_PACKAGE dir` | | a folder below the prefix | an absolute path; with one of the four above; a model that Python can't load: neither SHARED nor with `PYTHON_MODULE` |
| `COMPONENT component` | `Unspecified` | the install component of everything | more than one |

Installed below the prefix: the models' libraries in `lib`, with weights files of `WEIGHTS FILE` beside them, and their
headers in `include`. What models share is the package's own, so that packages of several projects, and of several
versions of aotbuild, fit under one prefix: the runtime and Sleef in `lib/<package>`, aotbuild's headers in
`include/<package>`; manifests and the licences of all that is inside in `share/<package>`; `lib/cmake/<package>`
and `lib/pkgconfig`. Models of `aotbuild_add_triton_model` are in `share/<package>/triton`, with the backend. A static
model with `WEIGHTS FILE` looks for its weights beside the program: copy the file that the imported target names in its
property `AOTBUILD_WEIGHTS_FILE`.

Models with `RUNTIME torch` need libtorch of the version that they were built with, which is not installed: on the
machine that uses them `find_package(<package>)` takes the one that `Torch_DIR` or `CMAKE_PREFIX_PATH` name, and
programs that are to run elsewhere have to find its libraries (`LD_LIBRARY_PATH`, or an `INSTALL_RPATH` of the
program's).

With `PYTHON_PACKAGE dir` it installs what a Python package needs to run the models, all into `dir`, and nothing else:
the extension modules of targets with `PYTHON_MODULE` and their type stubs, shared libraries of models, weights files,
and the libraries that those load. `examples/python_wheel` makes a wheel with it. Models with `RUNTIME torch` load
libtorch of the Python package `torch` in the same environment.
#]=]
function(aotbuild_install)
  _aotbuild_parse(aotbuild_install "${ARGV}")
  if(NOT "TARGETS" IN_LIST arg_KEYWORDS)
    _aotbuild_problem("TARGETS is missing; name the libraries to install")
  endif()
  _aotbuild_check_installed("${arg_TARGETS}")
  if("PYTHON_PACKAGE" IN_LIST arg_KEYWORDS)
    _aotbuild_check_python_package("${arg_KEYWORDS}")
    _aotbuild_check_match(arg PYTHON_PACKAGE "^[^/]" "a folder below the install prefix")
    _aotbuild_check_loadable("${arg_TARGETS}")
  endif()
  _aotbuild_check_match(arg PACKAGE "^[A-Za-z_][A-Za-z0-9_.+-]*$" "a package name")
  _aotbuild_check_match(arg NAMESPACE "^[A-Za-z_][A-Za-z0-9_.+-]*::$" "a prefix that ends in ::")
  _aotbuild_check_match(arg VERSION "^[0-9]+(\\.[0-9]+)*$" "a version such as 1.2.3")
  _aotbuild_check_match(arg COMPATIBILITY "^(SameMajorVersion|SameMinorVersion|ExactVersion|AnyNewerVersion)$"
    "SameMajorVersion, SameMinorVersion, ExactVersion or AnyNewerVersion")
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
  if(arg_NAMESPACE STREQUAL "")
    set(arg_NAMESPACE "${package}::")
  endif()
  if(arg_VERSION STREQUAL "")
    set(arg_VERSION "${PROJECT_VERSION}")
  endif()
  if(arg_COMPATIBILITY STREQUAL "")
    set(arg_COMPATIBILITY SameMajorVersion)
  endif()
  set_property(GLOBAL APPEND PROPERTY _AOTBUILD_PACKAGES "${package}")
  _aotbuild_install_package("${arg_TARGETS}" "${package}" "${arg_NAMESPACE}" "${arg_VERSION}" "${component}")
  _aotbuild_install_version("${package}" "${arg_VERSION}" ${arg_COMPATIBILITY} "${component}")
endfunction()

# Adds the caller's problems with what is installed: models, each once.
function(_aotbuild_check_installed targets)
  set(seen "")
  foreach(target IN LISTS targets)
    if(NOT TARGET "${target}" OR NOT TARGET "${target}.generate")
      _aotbuild_problem("\"${target}\" is no model; make it with add_aot_model before this call")
    endif()
    if(target IN_LIST seen)
      _aotbuild_problem("TARGETS names \"${target}\" more than once; keep one of them")
    endif()
    list(APPEND seen "${target}")
  endforeach()
  set(problems "${problems}" PARENT_SCOPE)
endfunction()

# Adds the caller's problems with the keywords beside PYTHON_PACKAGE.
function(_aotbuild_check_python_package given)
  foreach(keyword IN ITEMS PACKAGE NAMESPACE VERSION COMPATIBILITY)
    if(keyword IN_LIST given)
      _aotbuild_problem("PYTHON_PACKAGE and ${keyword} exclude each other; leave out one of them")
    endif()
  endforeach()
  set(problems "${problems}" PARENT_SCOPE)
endfunction()

# Adds the caller's problems with models that a Python package cannot load.
function(_aotbuild_check_loadable targets)
  foreach(target IN LISTS targets)
    if(TARGET "${target}" AND TARGET "${target}.generate")
      get_target_property(type ${target} TYPE)
      get_target_property(module ${target}.generate AOTBUILD_PYTHON_MODULE)
      if(NOT module AND NOT type STREQUAL "SHARED_LIBRARY")
        _aotbuild_problem("\"${target}\" is nothing that Python can load; make it SHARED or give it a PYTHON_MODULE")
      endif()
    endif()
  endforeach()
  set(problems "${problems}" PARENT_SCOPE)
endfunction()

# The CMake package of <targets>. <component> is the arguments that name it, in this function and those below.
function(_aotbuild_install_package targets package namespace version component)
  include(GNUInstallDirs)
  include(CMakePackageConfigHelpers)
  _aotbuild_install_libraries("${targets}" "${package}" "${namespace}" "${component}")
  _aotbuild_install_imported("${CMAKE_INSTALL_LIBDIR}/${package}" "${component}" imported_files)
  _aotbuild_fact(cpp cpp)
  install(DIRECTORY "${cpp}/include/" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/${package}" ${component})
  _aotbuild_install_licenses("${CMAKE_INSTALL_DATADIR}/${package}/licenses" "${component}")
  _aotbuild_install_sbom("${targets}" "${package}" "${version}" "${CMAKE_INSTALL_DATADIR}/${package}" "${component}")

  set(weights_properties "")
  foreach(target IN LISTS targets)
    _aotbuild_install_model_files(${target} "${package}" "${component}" weights)
    if(NOT weights STREQUAL "")
      list(TRANSFORM weights PREPEND "\${PACKAGE_PREFIX_DIR}/")
      string(APPEND weights_properties
        "set_target_properties(${namespace}${target} PROPERTIES "
        "AOTBUILD_WEIGHTS_FILE \"${weights}\")\n")
    endif()
    _aotbuild_install_pkg_config(${target} "${package}" "${version}" "${imported_files}" "${component}")
    _aotbuild_install_triton(${target} "${CMAKE_INSTALL_DATADIR}/${package}/triton" "${component}")
  endforeach()
  _aotbuild_install_config("${targets}" "${package}" "${imported_files}" "${weights_properties}" "${component}")
endfunction()

# The libraries of <targets>, and the runtimes that they need beside them.
function(_aotbuild_install_libraries targets package namespace component)
  set(runtimes "")
  foreach(target IN LISTS targets)
    get_target_property(type ${target} TYPE)
    get_target_property(runtime ${target}.generate AOTBUILD_RUNTIME)
    if(type STREQUAL "SHARED_LIBRARY")
      list(APPEND runtimes aotbuild_runtime_shared)
    else()
      list(APPEND runtimes aotbuild_runtime)
      if(runtime STREQUAL "torch")
        list(APPEND runtimes aotbuild_runtime_torch)
      endif()
    endif()
  endforeach()
  list(REMOVE_DUPLICATES runtimes)
  set_property(TARGET ${targets} APPEND PROPERTY INSTALL_RPATH "$ORIGIN/${package}")
  install(TARGETS ${targets} EXPORT ${package}Targets
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" ${component}
    RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" ${component}
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" ${component}
    OBJECTS DESTINATION "${CMAKE_INSTALL_LIBDIR}" ${component}
    INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/${package}" "${CMAKE_INSTALL_INCLUDEDIR}")
  install(TARGETS ${runtimes} EXPORT ${package}Targets
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}/${package}" ${component}
    RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" ${component}
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}/${package}" ${component}
    INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/${package}")
  install(EXPORT ${package}Targets NAMESPACE "${namespace}" DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/${package}"
    ${component})
endfunction()

# Installs the libraries behind aotbuild::dnnl and aotbuild::sleef; sets <out> to a list of <name>=<file> of them.
function(_aotbuild_install_imported destination component out)
  set(installed "")
  foreach(name IN ITEMS dnnl sleef)
    set(location "")
    if(TARGET aotbuild::${name})
      get_target_property(location aotbuild::${name} IMPORTED_LOCATION)
    endif()
    if(location)
      _aotbuild_installed_name(${name} file file_name)
      install(FILES "${file}" RENAME "${file_name}" DESTINATION "${destination}" ${component})
      list(APPEND installed "${name}=${file_name}")
    endif()
  endforeach()
  set(${out} "${installed}" PARENT_SCOPE)
endfunction()

# Header, manifest and weights of a model; sets <out> to where its weights file goes, "" for none; with WORLD_SIZE to
# where those of all ranks go.
function(_aotbuild_install_model_files target package component out)
  foreach(property IN ITEMS HEADER_DIR MANIFEST WEIGHTS_FILE)
    get_target_property(${property} ${target}.generate AOTBUILD_${property})
  endforeach()
  install(DIRECTORY "${HEADER_DIR}/" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" ${component})
  install(FILES "${MANIFEST}" DESTINATION "${CMAKE_INSTALL_DATADIR}/${package}" ${component})
  set(${out} "" PARENT_SCOPE)
  if(WEIGHTS_FILE)
    get_target_property(type ${target} TYPE)
    set(folder "${CMAKE_INSTALL_LIBDIR}")
    if(WIN32 AND type STREQUAL "SHARED_LIBRARY")  # beside the DLL
      set(folder "${CMAKE_INSTALL_BINDIR}")
    endif()
    install(FILES ${WEIGHTS_FILE} DESTINATION "${folder}" ${component})
    list(TRANSFORM WEIGHTS_FILE REPLACE "^.*/" "${folder}/")
    set(${out} "${WEIGHTS_FILE}" PARENT_SCOPE)
  endif()
endfunction()

# The pkg-config file of a model, which links static ones with <imported_files> too.
function(_aotbuild_install_pkg_config target package version imported_files component)
  get_target_property(type ${target} TYPE)
  get_target_property(runtime ${target}.generate AOTBUILD_RUNTIME)
  if(type STREQUAL "SHARED_LIBRARY")
    set(libraries "-l${target} -laotbuild_runtime_shared")
  else()
    set(libraries "-l${target}")
    if(type STREQUAL "OBJECT_LIBRARY")
      set(libraries "@objects@")
    endif()
    if(runtime STREQUAL "torch")
      string(APPEND libraries " -laotbuild_runtime_torch")
    endif()
    string(APPEND libraries " -laotbuild_runtime")
    foreach(imported IN LISTS imported_files)
      string(REGEX REPLACE "^.+=" " -l:" flag "${imported}")
      string(APPEND libraries "${flag}")
    endforeach()
    string(APPEND libraries " -fopenmp")
    foreach(name IN ITEMS ${CMAKE_DL_LIBS} stdc++ m)
      string(APPEND libraries " -l${name}")
    endforeach()
    if(runtime STREQUAL "torch")
      string(APPEND libraries " -ltorch_cpu -lc10")
    endif()
  endif()
  set(pkg_config_version "${version}")
  if(pkg_config_version STREQUAL "")  # pkg-config wants one
    set(pkg_config_version 0)
  endif()
  cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY "${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/pkgconfig"
    OUTPUT_VARIABLE prefix_from_pkgconfig)
  set(own_libdir "${CMAKE_INSTALL_LIBDIR}/${package}")
  set(own_includedir "${CMAKE_INSTALL_INCLUDEDIR}/${package}")
  set(file "${CMAKE_CURRENT_BINARY_DIR}/${package}.package/${target}.pc")
  configure_file("${CMAKE_CURRENT_FUNCTION_LIST_DIR}/private/model.pc.in" "${file}" @ONLY)
  install(FILES "${file}" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" ${component})
  if(type STREQUAL "OBJECT_LIBRARY")
    install(CODE "set(AOTBUILD_TARGET \"${target}\")" ${component})
    install(CODE "set(AOTBUILD_LIBDIR \"${CMAKE_INSTALL_LIBDIR}\")" ${component})
    install(SCRIPT "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/private/list_objects.cmake" ${component})
  endif()
endfunction()

# The files that find_package(<package>) reads.
function(_aotbuild_install_config targets package imported_files weights_properties component)
  set(static FALSE)
  set(torch_version "")  # of the libtorch that some model needs
  foreach(target IN LISTS targets)
    get_target_property(type ${target} TYPE)
    get_target_property(runtime ${target}.generate AOTBUILD_RUNTIME)
    if(NOT type STREQUAL "SHARED_LIBRARY")
      set(static TRUE)
    endif()
    if(runtime STREQUAL "torch")
      get_target_property(torch_version ${target}.generate AOTBUILD_TORCH_VERSION)
    endif()
  endforeach()
  set(imported_libraries "")
  foreach(imported IN LISTS imported_files)
    string(APPEND imported_libraries " \"${imported}\"")
  endforeach()
  # Static models need OpenMP's library by name; no compiler is asked for it again.
  set(openmp_libraries "${OpenMP_CXX_LIB_NAMES}")
  list(TRANSFORM openmp_libraries PREPEND "-l")
  set(own_libdir "${CMAKE_INSTALL_LIBDIR}/${package}")
  set(config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/${package}")
  set(package_dir "${CMAKE_CURRENT_BINARY_DIR}/${package}.package")
  configure_package_config_file("${CMAKE_CURRENT_FUNCTION_LIST_DIR}/private/packageConfig.cmake.in"
    "${package_dir}/${package}Config.cmake" INSTALL_DESTINATION "${config_dir}"
    NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
  set(files "${package_dir}/${package}Config.cmake")
  if(NOT torch_version STREQUAL "")
    list(APPEND files "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/private/Torch.cmake")
  endif()
  install(FILES ${files} DESTINATION "${config_dir}" ${component})
endfunction()

# The file that find_package(<package> <version>) compares with; none without a version.
function(_aotbuild_install_version package version compatibility component)
  if(NOT version STREQUAL "")
    set(file "${CMAKE_CURRENT_BINARY_DIR}/${package}.package/${package}ConfigVersion.cmake")
    write_basic_package_version_file("${file}" VERSION "${version}" COMPATIBILITY ${compatibility})
    install(FILES "${file}" DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/${package}" ${component})
  endif()
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
      install(FILES ${weights_file} DESTINATION "${destination}" ${component})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES libraries)
  install(TARGETS ${libraries} LIBRARY DESTINATION "${destination}" ${component} NAMELINK_SKIP)
  _aotbuild_install_licenses("${destination}/licenses" "${component}")
  cmake_path(GET destination FILENAME package)
  _aotbuild_install_sbom("${targets}" "${package}" "" "${destination}" "${component}")
  _aotbuild_install_imported("${destination}" "${component}" imported_files)
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
