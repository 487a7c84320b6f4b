# The bill of materials of installed models and of the Python package, in CycloneDX 1.6: what is in them and comes with
# them, by version and licence.

# Installs <folder>/sbom.cdx.json for <targets>; <package> and <version> are of the whole, and both may be empty.
function(_aotbuild_install_sbom targets package version folder component)
  include("${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../aotbuildConfigVersion.cmake")
  set(components "")
  set(references "")
  _aotbuild_bill(aotbuild "${PACKAGE_VERSION}" Apache-2.0 pkg:pypi/aotbuild@ "runtime and generated code")
  _aotbuild_fact(torch_version torch)
  string(REGEX REPLACE "\\+.*" "" torch "${torch}")  # what is after + is of the build
  _aotbuild_bill(torch "${torch}" BSD-3-Clause pkg:pypi/torch@
    "TorchInductor, which wrote the kernels, and its vector headers")
  _aotbuild_find_json()
  _aotbuild_bill_json()
  get_target_property(sleef aotbuild::sleef TYPE)
  if(sleef STREQUAL "UNKNOWN_LIBRARY")
    get_target_property(include aotbuild::sleef INTERFACE_INCLUDE_DIRECTORIES)
    _aotbuild_bill_sleef("${include}")
  endif()
  _aotbuild_find_eigen(has_eigen)
  if(has_eigen)
    _aotbuild_bill_eigen()
  endif()
  if(TARGET aotbuild::dnnl)
    get_target_property(include aotbuild::dnnl INTERFACE_INCLUDE_DIRECTORIES)
    _aotbuild_header_version(dnnl_version "${include}" oneapi/dnnl/dnnl_version.h
      DNNL_VERSION_MAJOR DNNL_VERSION_MINOR DNNL_VERSION_PATCH)
    _aotbuild_bill(onednn "${dnnl_version}" Apache-2.0 pkg:github/uxlfoundation/oneDNN@v "convolutions and products")
  endif()
  set(file "${CMAKE_CURRENT_BINARY_DIR}/${package}.package/sbom.cdx.json")
  _aotbuild_write_sbom("${file}" "${package}" "${version}" "${components}" "${references}" "${targets}")
  install(FILES "${file}" DESTINATION "${folder}" ${component})
endfunction()

# Writes the bill of <name>: <components> with their <references>, and <models>, each of which depends on all of them.
# <version> may be empty.
function(_aotbuild_write_sbom file name version components references models)
  list(JOIN references "," references)
  set(about "")
  if(NOT version STREQUAL "")
    set(about ",\"version\":\"${version}\"")
  endif()
  set(dependencies "{\"ref\":\"package\",\"dependsOn\":[${references}]}")
  list(JOIN components "," components)
  foreach(model IN LISTS models)
    string(APPEND components
      ",{\"type\":\"machine-learning-model\",\"bom-ref\":\"model:${model}\",\"name\":\"${model}\"}")
    string(APPEND dependencies ",{\"ref\":\"model:${model}\",\"dependsOn\":[${references}]}")
  endforeach()
  set(text "{\"bomFormat\":\"CycloneDX\",\"specVersion\":\"1.6\",\"version\":1,")
  string(APPEND text "\"metadata\":{\"component\":{\"type\":\"library\",\"bom-ref\":\"package\",\"name\":\"${name}\"")
  string(APPEND text "${about}}},\"components\":[${components}],\"dependencies\":[${dependencies}]}")
  string(JSON text SET "${text}" version 1)  # in lines
  file(CONFIGURE OUTPUT "${file}" CONTENT "@text@\n" @ONLY)
endfunction()

# Adds a component to the caller's <components> and <references>. <purl>: the package URL that scanners know it by, up to
# the version's numbers.
function(_aotbuild_bill name version license purl description)
  set(known "")
  if(NOT version STREQUAL "")
    set(known "\"version\":\"${version}\",\"purl\":\"${purl}${version}\",")
  endif()
  list(APPEND components "{\"type\":\"library\",\"bom-ref\":\"${name}\",\"name\":\"${name}\",${known}\
\"description\":\"${description}\",\"licenses\":[{\"license\":{\"id\":\"${license}\"}}]}")
  list(APPEND references "\"${name}\"")
  set(components "${components}" PARENT_SCOPE)
  set(references "${references}" PARENT_SCOPE)
endfunction()

# Add what has been found to the caller's <components> and <references>.
macro(_aotbuild_bill_json)
  _aotbuild_header_version(json_version "${AOTBUILD_NLOHMANN_JSON_INCLUDE_DIR}"
    "nlohmann/detail/abi_macros.hpp;nlohmann/json.hpp"
    NLOHMANN_JSON_VERSION_MAJOR NLOHMANN_JSON_VERSION_MINOR NLOHMANN_JSON_VERSION_PATCH)
  _aotbuild_bill(nlohmann-json "${json_version}" MIT pkg:github/nlohmann/json@v "reader of weights files")
endmacro()

macro(_aotbuild_bill_sleef include)
  _aotbuild_header_version(sleef_version "${include}" sleef.h
    SLEEF_VERSION_MAJOR SLEEF_VERSION_MINOR SLEEF_VERSION_PATCHLEVEL)
  _aotbuild_bill(sleef "${sleef_version}" BSL-1.0 pkg:github/shibatch/sleef@ "vector functions of kernels")
endmacro()

macro(_aotbuild_bill_eigen)
  _aotbuild_header_version(eigen_version "${AOTBUILD_EIGEN_INCLUDE_DIR}" Eigen/src/Core/util/Macros.h
    EIGEN_WORLD_VERSION EIGEN_MAJOR_VERSION EIGEN_MINOR_VERSION)
  _aotbuild_bill(eigen "${eigen_version}" MPL-2.0 pkg:generic/eigen@ "linear algebra, for models that call it")
endmacro()

# Sets <out> to the numbers that the macros in the arguments have, with dots between them, in the first of <headers> below
# <folder> that defines them all; to nothing where none does.
function(_aotbuild_header_version out folder headers)
  set(${out} "" PARENT_SCOPE)
  foreach(header IN LISTS headers)
    set(numbers "")
    foreach(macro IN LISTS ARGN)
      if(EXISTS "${folder}/${header}")
        file(STRINGS "${folder}/${header}" line REGEX "^#[ \t]*define[ \t]+${macro}[ \t]+[0-9]+" LIMIT_COUNT 1)
        if(line MATCHES "${macro}[ \t]+([0-9]+)")
          list(APPEND numbers "${CMAKE_MATCH_1}")
        endif()
      endif()
    endforeach()
    list(LENGTH numbers count)
    list(LENGTH ARGN wanted)
    if(count EQUAL wanted)
      list(JOIN numbers "." numbers)
      set(${out} "${numbers}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()
