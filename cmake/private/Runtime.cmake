# The runtime library that generated models call, a target of the user's project: one copy for all models.
# Its objects come with the Python package where they fit, and are compiled otherwise.

# _aotbuild_runtime(STATIC|SHARED <out>): sets <out> to the runtime target, which is made at the first call.
# Static models share the static runtime; shared ones the shared runtime, so that two of them in one process share it.
function(_aotbuild_runtime kind out)
  _aotbuild_runtime_dependencies()
  if(kind STREQUAL "SHARED")
    if(EMSCRIPTEN)
      message(FATAL_ERROR "aotbuild: WebAssembly has no shared models; make them STATIC, and leave out BUILD_SHARED_LIBS.")
    endif()
    set(name aotbuild_runtime_shared)
    set(alias aotbuild::runtime_shared)
  else()
    set(name aotbuild_runtime)
    set(alias aotbuild::runtime)
  endif()
  set(${out} ${name} PARENT_SCOPE)
  if(TARGET ${name})
    return()
  endif()

  _aotbuild_find_eigen(has_eigen)
  _aotbuild_prebuilt_objects(${kind} objects eigen_objects)
  if(objects)
    set(has_eigen OFF)
    if(eigen_objects)
      set(has_eigen ON)
    endif()
    add_library(${name} ${kind} EXCLUDE_FROM_ALL ${objects})
    set_source_files_properties(${objects} PROPERTIES EXTERNAL_OBJECT ON)
    set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
  else()
    add_library(${name} ${kind} EXCLUDE_FROM_ALL)
  endif()
  set_target_properties(${name} PROPERTIES AOTBUILD_EIGEN "${has_eigen}")
  add_library(${alias} ALIAS ${name})
  _aotbuild_runtime_usage(${name} ${kind})
  if(kind STREQUAL "SHARED")
    _aotbuild_version_runtime(${name})
  endif()
  if(NOT objects)
    _aotbuild_runtime_sources(${name})
  endif()
  if(has_eigen)
    _aotbuild_add_eigen(${name} ${kind} "${eigen_objects}")
  endif()
endfunction()

# Names the shared runtime <target> and its functions after aotbuild's version: a program may have models of several, each
# with the runtime that its code was generated for.
function(_aotbuild_version_runtime target)
  include("${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../aotbuildConfigVersion.cmake")
  if(WIN32)  # the source says what a DLL exports
    set_target_properties(${target} PROPERTIES OUTPUT_NAME "${target}-${PACKAGE_VERSION}")
    return()
  endif()
  set(map "${CMAKE_CURRENT_BINARY_DIR}/${target}.map")
  file(CONFIGURE OUTPUT "${map}" CONTENT "AOTBUILD_@PACKAGE_VERSION@ { global: aotbuild_*; _ZN8aotbuild*; };\n" @ONLY)
  set_target_properties(${target} PROPERTIES SOVERSION "${PACKAGE_VERSION}" LINK_DEPENDS "${map}")
  # What nothing that is exported reaches is left out.
  target_link_options(${target} PRIVATE "LINKER:--version-script=${map}" "LINKER:--gc-sections")
endfunction()

# Adds the operators on Eigen to the runtime <target>: to a static one itself, from which programs link what they call.
# Models have them in their own libraries where the runtime is shared, so that it does not grow by what few models need.
function(_aotbuild_add_eigen target kind objects)
  if(objects)
    set_source_files_properties(${objects} PROPERTIES EXTERNAL_OBJECT ON)
  else()
    if(NOT TARGET aotbuild_runtime_eigen_objects)
      add_library(aotbuild_runtime_eigen_objects OBJECT EXCLUDE_FROM_ALL)
      _aotbuild_eigen_sources(aotbuild_runtime_eigen_objects)
    endif()
    set(objects $<TARGET_OBJECTS:aotbuild_runtime_eigen_objects>)
  endif()
  if(kind STREQUAL "SHARED")
    add_library(aotbuild_runtime_eigen STATIC EXCLUDE_FROM_ALL ${objects})
    set_target_properties(aotbuild_runtime_eigen PROPERTIES LINKER_LANGUAGE CXX)
    target_link_libraries(${target} INTERFACE $<BUILD_INTERFACE:aotbuild_runtime_eigen>)
  else()
    target_sources(${target} PRIVATE ${objects})
  endif()
endfunction()

# Gives <target> the sources of the operators on Eigen.
function(_aotbuild_eigen_sources target)
  _aotbuild_fact(cpp cpp)
  include("${cpp}/src/sources.cmake")
  list(TRANSFORM AOTBUILD_EIGEN_SOURCES PREPEND "${cpp}/src/")
  target_sources(${target} PRIVATE ${AOTBUILD_EIGEN_SOURCES})
  target_include_directories(${target} PRIVATE "${cpp}/include" "${cpp}/src")
  target_include_directories(${target} SYSTEM PRIVATE "${AOTBUILD_EIGEN_INCLUDE_DIR}")
  target_compile_features(${target} PRIVATE cxx_std_17)
  # The runtime's functions may be in another library.
  target_compile_definitions(${target} PRIVATE AOTBUILD_RUNTIME_SHARED_BUILD)
  _aotbuild_prefix_maps(maps)
  target_compile_options(${target} PRIVATE ${maps} -ffunction-sections -fdata-sections
    "$<$<STREQUAL:$<CONFIG>,>:-O2>")
  _aotbuild_use_own_flags(${target})
  _aotbuild_library_properties(${target})
endfunction()

# _aotbuild_torch_runtime(STATIC|SHARED <target> <out>): sets <out> to what models with RUNTIME torch link besides: the part
# of the runtime that is compiled against libtorch. It is a static library also for shared models, which hold a copy each.
# <target>, the model, is for errors.
function(_aotbuild_torch_runtime kind target out)
  set(name aotbuild_runtime_torch)
  set(alias aotbuild::runtime_torch)
  if(kind STREQUAL "SHARED")
    set(name aotbuild_runtime_torch_shared)
    set(alias aotbuild::runtime_torch_shared)
  endif()
  set(${out} ${name} PARENT_SCOPE)
  set(hint "")
  _aotbuild_fact(torch_include torch_include)
  if(NOT CMAKE_CROSSCOMPILING AND NOT torch_include STREQUAL "")
    cmake_path(GET torch_include PARENT_PATH hint)
  endif()
  _aotbuild_fact(torch_version torch_version)
  _aotbuild_torch("${torch_version}" "${hint}" "add_aot_model(${target})")
  if(TARGET ${name})
    return()
  endif()
  _aotbuild_runtime(${kind} runtime)
  _aotbuild_fact(cpp cpp)
  add_library(${name} STATIC EXCLUDE_FROM_ALL "${cpp}/torch/torch_runtime.cpp")
  add_library(${alias} ALIAS ${name})
  target_link_libraries(${name} PUBLIC ${runtime} PRIVATE aotbuild::torch)
  _aotbuild_prefix_maps(maps)
  # A feature and no option: that would stand before the C++17 that the runtime asks its users for, and lose.
  target_compile_features(${name} PRIVATE cxx_std_20)
  target_compile_options(${name} PRIVATE ${maps} "$<$<STREQUAL:$<CONFIG>,>:-O2>")
  _aotbuild_use_own_flags(${name})
  _aotbuild_library_properties(${name})
endfunction()

# What <target>, the runtime or its objects, gives to the models that use it and links with.
function(_aotbuild_runtime_usage target kind)
  _aotbuild_fact(cpp cpp)
  target_include_directories(${target} SYSTEM PUBLIC "$<BUILD_INTERFACE:${cpp}/include>")
  target_compile_features(${target} PUBLIC cxx_std_17)
  target_link_libraries(${target} PRIVATE aotbuild::sleef aotbuild::openmp ${CMAKE_DL_LIBS})
  _aotbuild_onednn(onednn)
  if(onednn)
    target_link_libraries(${target} PRIVATE aotbuild::dnnl)
  endif()
  if(kind STREQUAL "SHARED")
    target_compile_definitions(${target} PUBLIC AOTBUILD_RUNTIME_SHARED_BUILD)
  endif()
  _aotbuild_library_properties(${target})
endfunction()

# Gives <target> the sources of the runtime.
function(_aotbuild_runtime_sources target)
  _aotbuild_fact(cpp cpp)
  include("${cpp}/src/sources.cmake")
  list(TRANSFORM AOTBUILD_RUNTIME_SOURCES PREPEND "${cpp}/src/")
  target_sources(${target} PRIVATE ${AOTBUILD_RUNTIME_SOURCES})
  _aotbuild_group_sources(${target} ${AOTBUILD_RUNTIME_SOURCES})
  target_include_directories(${target} PRIVATE "${cpp}/src")
  _aotbuild_use_json(${target})
  _aotbuild_prefix_maps(maps)
  # Sections: with -Wl,--gc-sections a program holds only the operators that its models call.
  # A project that sets no CMAKE_BUILD_TYPE gets a fast runtime all the same.
  target_compile_options(${target} PRIVATE ${maps} -ffunction-sections -fdata-sections
    "$<$<STREQUAL:$<CONFIG>,>:-O2>")
  # What std::stable_sort of GCC's library is made of is deprecated, and Clang says so.
  target_compile_options(${target} PRIVATE "$<$<CXX_COMPILER_ID:Clang>:-Wno-deprecated-declarations>")
  _aotbuild_onednn(onednn)
  if(NOT onednn)
    target_include_directories(${target} PRIVATE "${cpp}/src/without_onednn")
  endif()
  _aotbuild_use_own_flags(${target})
endfunction()

# Sets <out> to the object files of the Python package's own build of the runtime (cpp/python/CMakeLists.txt), and
# <out_eigen> to those of the operators on Eigen, or both to nothing where they might not be what a compilation here would
# give: made of other sources, by another or a later compiler, for another machine, or with flags that change what code
# means or how it is linked.
function(_aotbuild_prebuilt_objects kind out out_eigen)
  set(${out} "" PARENT_SCOPE)
  set(${out_eigen} "" PARENT_SCOPE)
  _aotbuild_fact(prebuilt prebuilt)
  if(DEFINED AOTBUILD_PREBUILT_RUNTIME AND NOT AOTBUILD_PREBUILT_RUNTIME)
    return()
  endif()
  _aotbuild_onednn(onednn)
  string(TOUPPER "${CMAKE_CONFIGURATION_TYPES};${CMAKE_BUILD_TYPE}" configurations)
  set(flags "${CMAKE_CXX_FLAGS}")
  foreach(configuration IN LISTS configurations)
    string(APPEND flags " ${CMAKE_CXX_FLAGS_${configuration}}")
  endforeach()
  get_directory_property(options COMPILE_OPTIONS)
  get_directory_property(definitions COMPILE_DEFINITIONS)
  list(APPEND options ${definitions})
  _aotbuild_drop_other_configurations(options "${configurations}")
  if(onednn OR CMAKE_CROSSCOMPILING OR NOT EXISTS "${prebuilt}/runtime.cmake"
      OR "${flags};${options}" MATCHES "-fsanitize|-stdlib=|-march=|-mcpu=|_GLIBCXX_|--coverage")
    return()
  endif()
  _aotbuild_runtime_description(here compiler)
  include("${prebuilt}/runtime.cmake")
  _aotbuild_find_eigen(eigen)
  if(eigen AND NOT AOTBUILD_PREBUILT_EIGEN)
    return()
  endif()
  # What a compiler made links with what a later one makes, as both use one ABI and one C++ library.
  if(here STREQUAL AOTBUILD_PREBUILT_DESCRIPTION AND compiler VERSION_GREATER_EQUAL "${AOTBUILD_PREBUILT_COMPILER}")
    string(TOLOWER "${kind}" folder)
    file(GLOB objects "${prebuilt}/${folder}/*.o")
    file(GLOB eigen_objects "${prebuilt}/eigen/*.o")
    set(${out} ${objects} PARENT_SCOPE)
    set(${out_eigen} ${eigen_objects} PARENT_SCOPE)
    # Other sources, as of an update of the package, are to be compiled.
    _aotbuild_fact(cpp cpp)
    file(GLOB_RECURSE files LIST_DIRECTORIES false "${cpp}/include/*" "${cpp}/src/*")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${files} "${prebuilt}/runtime.cmake")
  endif()
endfunction()

# Removes from <list> the generator expressions that are for configurations which this build does not have.
function(_aotbuild_drop_other_configurations list configurations)
  set(kept "")
  foreach(entry IN LISTS ${list})
    set(applies TRUE)
    if(entry MATCHES "^\\$<\\$<CONFIG:([^>]+)>:")
      string(TOUPPER "${CMAKE_MATCH_1}" named)
      string(REPLACE "," ";" named "${named}")
      set(applies FALSE)
      foreach(configuration IN LISTS configurations)
        if(configuration IN_LIST named)
          set(applies TRUE)
        endif()
      endforeach()
    elseif(entry MATCHES "^\\$<\\$<NOT:\\$<CONFIG:([^>,]+)>>:")
      string(TOUPPER "${CMAKE_MATCH_1}" named)
      if("${configurations}" MATCHES "^;*${named};*$")
        set(applies FALSE)
      endif()
    endif()
    if(applies)
      list(APPEND kept "${entry}")
    endif()
  endforeach()
  set(${list} "${kept}" PARENT_SCOPE)
endfunction()

# Sets <out> to what objects of the runtime depend on, apart from flags: the machine, the kind of compiler, the sources;
# and <out_compiler> to the compiler's major version.
function(_aotbuild_runtime_description out out_compiler)
  _aotbuild_fact(cpp cpp)
  file(GLOB_RECURSE files LIST_DIRECTORIES false RELATIVE "${cpp}" "${cpp}/include/*" "${cpp}/src/*")
  list(SORT files)
  set(contents "")
  foreach(file IN LISTS files)
    file(SHA256 "${cpp}/${file}" hash)
    string(APPEND contents "${file} ${hash}\n")
  endforeach()
  foreach(file IN ITEMS Dependencies Facts Flags Runtime)
    file(SHA256 "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${file}.cmake" hash)
    string(APPEND contents "${hash}\n")
  endforeach()
  string(SHA256 hash "${contents}")
  string(REGEX MATCH "^[0-9]+" compiler_version "${CMAKE_CXX_COMPILER_VERSION}")
  set(${out_compiler} "${compiler_version}" PARENT_SCOPE)
  set(${out} "${CMAKE_SYSTEM_NAME} ${CMAKE_SYSTEM_PROCESSOR} ${CMAKE_CXX_COMPILER_ID} ${hash}" PARENT_SCOPE)
endfunction()

# Compiles a folder of the CPU runtime as one file, which takes half the processor time: headers are read once.
function(_aotbuild_group_sources target)
  _aotbuild_fact(cpp cpp)
  foreach(source IN LISTS ARGN)
    cmake_path(GET source PARENT_PATH folder)
    cmake_path(RELATIVE_PATH folder BASE_DIRECTORY "${cpp}/src")
    if(NOT folder MATCHES "^(base|cuda|weights)$")  # those of these share little
      string(REPLACE "/" "_" group "${folder}")
      set_source_files_properties("${source}" PROPERTIES UNITY_GROUP ${group})
    endif()
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()

# What the runtime and the models have in common.
function(_aotbuild_library_properties target)
  set(relocatable ON)
  if(EMSCRIPTEN)  # one module, of static libraries
    set(relocatable OFF)
  endif()
  set(define_symbol AOTBUILD_MODEL_EXPORTS)
  if(target STREQUAL "aotbuild_runtime_shared")
    set(define_symbol AOTBUILD_RUNTIME_EXPORTS)
  endif()
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON
    POSITION_INDEPENDENT_CODE "${relocatable}"
    DEFINE_SYMBOL "${define_symbol}"
    BUILD_RPATH_USE_ORIGIN ON
    INSTALL_RPATH "$ORIGIN")
  get_target_property(type ${target} TYPE)
  if(type MATCHES "^(SHARED|MODULE)_LIBRARY$")
    _aotbuild_keep_denormals(${target})
    # ELF: tables of the linker are read-only once the library is loaded, and what a library has is what it calls, though
    # another version of it was opened before with its names for all.
    if(NOT WIN32 AND NOT APPLE AND NOT EMSCRIPTEN)
      target_link_options(${target} PRIVATE "LINKER:-z,relro" "LINKER:-z,now" "LINKER:-z,noexecstack"
        "LINKER:-Bsymbolic-functions")
    endif()
  endif()
endfunction()

# Sets <out> to compile options that make the same bytes wherever the sources and the build lie: assertions and debug
# information hold their paths.
function(_aotbuild_prefix_maps out)
  _aotbuild_fact(cpp cpp)
  set(${out} "-ffile-prefix-map=${CMAKE_BINARY_DIR}=." "-ffile-prefix-map=${cpp}=aotbuild/cpp" PARENT_SCOPE)
endfunction()
