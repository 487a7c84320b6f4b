"""aotbuild from Python: compiling a module of this process, and running libraries."""
