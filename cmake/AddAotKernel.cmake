#[=[.md:
## `add_aot_kernel`

    add_aot_kernel(<target>
      KERNEL <file.py:function | package.module:function>
      SIGNATURE name=type|value ...
      GRID x [y [z]]
      [CONFIGS "name=value ..." ...] [EXAMPLES "name=value ..." ...]
      [CUDA_ARCHITECTURES architecture ...]
      [STATIC | SHARED | OBJECT]
      [NAMESPACE a::b] [CLASS_NAME Name] [HEADER path/x.hpp] [SYMBOL_PREFIX prefix]
      [TUNE CACHED|OFF] [TUNING_DATABASE file]
      [DEPENDS file ...] [OUTPUT_DIR dir] [JOB_POOL pool] [EXCLUDE_FROM_ALL] [VERBOSE]
      [OUTPUT_TARGETS var] [HEADER_VAR var] [MANIFEST_VAR var])

Makes the library `<target>` of a Triton kernel that was written by hand: a C++ class that launches it on the program's
stream, with the kernel's arguments by name, and the same as C functions. The kernel is compiled while building, for
every architecture and on any machine; a program with it needs NVIDIA's driver and nothing else of CUDA. See
[Triton kernels](triton-kernels.md).

    add_aot_kernel(add_scaled
      KERNEL add_scaled.py:add_scaled
      SIGNATURE x=*fp32:16 y=*fp32:16 out=*fp32:16 count=i32 scale=fp32
      GRID "cdiv(count, block)"
      CONFIGS "block=256 num_warps=4" "block=1024 num_warps=8"
      CUDA_ARCHITECTURES 80 90)

| keyword | default | meaning | refused |
|---|---|---|---|
| `KERNEL` | required | a Python file and the function in it with `@triton.jit` (relative to the current source folder), or an importable module and function. What it imports of the project is tracked | missing; of another form; a file that does not exist and that `DEPENDS` does not name; a folder; no Triton function (while building) |
| `SIGNATURE name=type ...` | required | the type of each argument: `*fp32` and the like for memory of the device, `i32`, `fp32`, `i1`, ... for numbers. `:16` after a pointer or an integer promises a multiple of 16, which makes faster code; a launch refuses others. `name=value` makes an argument a constant, as a `tl.constexpr` that is the same in every configuration; see [Values](#values) | missing; an entry of another form; a name twice; names that the function does not take, or lacks (while building) |
| `GRID x [y [z]]` | required; 1 for `y` and `z` | numbers of blocks: integer expressions over arguments and constants with `+ - * // %`, `cdiv(a, b)`, `min(a, ...)` and `max(a, ...)`, in quotation marks | missing; more than three; an expression without quotation marks; other names or operations (while building) |
| `CONFIGS "name=value ..." ...` | the list of the function's `@triton.autotune`, else Triton's defaults | values of each `tl.constexpr`, `num_warps` (4) and `num_stages` (3). The first is used for what the tuning database has no line for | an entry of another form; a name other than of a `tl.constexpr`; a `tl.constexpr` without a value (while building) |
| `EXAMPLES "name=value ..." ...` | none | the arguments to tune with, one launch an entry: numbers, and for pointers how many elements there are, an expression over the integers | an entry of another form; one that lacks an argument (while building) |
| `CUDA_ARCHITECTURES`, `STATIC`, `SHARED`, `OBJECT`, `NAMESPACE`, `CLASS_NAME`, `HEADER`, `SYMBOL_PREFIX`, `DEPENDS`, `OUTPUT_DIR`, `JOB_POOL`, `EXCLUDE_FROM_ALL`, `VERBOSE`, `OUTPUT_TARGETS`, `HEADER_VAR`, `MANIFEST_VAR` | as in `add_aot_model` | as in `add_aot_model` | as in `add_aot_model` |
| `TUNE CACHED`, `TUNE OFF` | `CACHED` | as in `add_aot_model`; `<target>.tune` measures the configurations and exists with `EXAMPLES` | another value; `SEARCH` |
| `TUNING_DATABASE file` | the kernel's file with the extension `.tuning`, else `<target>.tuning` in the current source folder | as in `add_aot_model` | with `TUNE OFF` |

Targets besides the library: `<target>.generate`, `<target>.explain` and, with `EXAMPLES`, `<target>.tune`.
`aotbuild_install` installs kernels as it does models.
#]=]
function(add_aot_kernel)
  _aotbuild_python()
  _aotbuild_plan(add_aot_kernel "${ARGV}" statements)
  cmake_language(EVAL CODE "${statements}")
  _aotbuild_require_compiler()
  _aotbuild_set_group_properties()
  _aotbuild_add_generator()
  set_target_properties(${plan_target}.generate PROPERTIES
    AOTBUILD_OUTPUT_DIR "${plan_output_dir}"
    AOTBUILD_HEADER "${plan_header}"
    AOTBUILD_HEADER_DIR "${plan_header_dir}"
    AOTBUILD_MANIFEST "${plan_manifest}"
    AOTBUILD_CUDA_ARCHITECTURES "${plan_cuda_architectures}")

  _aotbuild_runtime(${plan_kind} runtime)
  _aotbuild_add_library("${plan_sources}" ${runtime} "")
  set(plan_output_targets ${plan_target} ${runtime})
  _aotbuild_set_results()
endfunction()
