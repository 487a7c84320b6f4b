# What holds for a whole configuration and is found once, under one name each:
#
#   cpp                the folder of aotbuild's C++ sources
#   root               the folder that cmake/ lies in
#   python             the interpreter that runs the generator; it and what follows are set by _aotbuild_python
#   package_path       the folder that the Python package lies in
#   generator          the beginning of the generator's command line
#   generator_depends  files that outputs depend on because the generator is made of them
#   prefix             of the interpreter's environment
#   prebuilt           the folder of the Python package's own build of the runtime
#   torch_include, torch_version, pybind11_dir  of that environment's packages, "" where they are missing

# Sets the fact <name> to the list that follows.
function(_aotbuild_set_fact name)
  set_property(GLOBAL PROPERTY _AOTBUILD_FACT_${name} "${ARGN}")
endfunction()

# Sets <out> to the fact <name>, "" before it is set.
function(_aotbuild_fact name out)
  get_property(value GLOBAL PROPERTY _AOTBUILD_FACT_${name})
  set(${out} "${value}" PARENT_SCOPE)
endfunction()

cmake_path(SET _aotbuild_root NORMALIZE "${CMAKE_CURRENT_LIST_DIR}/../..")
string(REGEX REPLACE "/$" "" _aotbuild_root "${_aotbuild_root}")
_aotbuild_set_fact(root "${_aotbuild_root}")
_aotbuild_set_fact(cpp "${_aotbuild_root}/cpp")
unset(_aotbuild_root)
