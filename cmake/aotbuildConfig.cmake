# The aotbuild CMake package: find_package(aotbuild REQUIRED), or add_subdirectory() of the repository, ends up here.
# docs/cmake.md is made of this text and of the references at the top of each public function's file, by
# docs/make_cmake_reference.py.
#[=[.md:
# CMake reference

    find_package(aotbuild REQUIRED)
    add_aot_model(encoder MODEL encoder.py:build)
    target_link_libraries(app PRIVATE encoder)

`add_aot_model` is what most projects need. It is the sum of the smaller functions below it.

Needs CMake 3.24, GCC 11 or Clang 14 or later, C++17 for the project's own code and C++20 for the kernels, and on the
building machine Python 3.10 or later with aotbuild and torch. Works with Ninja, Ninja Multi-Config and Makefiles.

## Getting the package

| where aotbuild is | how a project gets it |
|---|---|
| pip-installed, its environment's `bin` on `PATH` | `find_package(aotbuild REQUIRED)` |
| pip-installed, environment not active | the same, with `-Daotbuild_DIR="$(<env>/bin/python -m aotbuild --cmakedir)"` |
| in `build-system.requires` of a scikit-build-core project | `find_package(aotbuild REQUIRED)` |
| a checkout | `add_subdirectory(<checkout> aotbuild)`, or `FetchContent_Declare(aotbuild SOURCE_DIR <checkout> OVERRIDE_FIND_PACKAGE)` and `find_package(aotbuild REQUIRED)` |

`python -m aotbuild doctor` prints what a build would find, with versions, and what to do about what is wrong;
`--toolchain FILE` what a build with that `CMAKE_TOOLCHAIN_FILE` would.

The generator runs in this Python interpreter, the first of these that is set or exists: `AOTBUILD_PYTHON`;
`Python3_EXECUTABLE`; the interpreter of the environment or checkout that holds the package; the one that CMake's
`find_package(Python3)` finds.

| variable | |
|---|---|
| `AOTBUILD_PYTHON` | the interpreter of the environment that has aotbuild and torch |
| `AOTBUILD_GENERATOR_JOBS` | generators that run at a time; default one for each 4 GiB of memory, at most one a core |
| `AOTBUILD_COMPILE_JOBS` | compilations of models' sources that run at a time; default one for each 1.5 GiB of memory, at most one a core |
| `AOTBUILD_QUIET` | `ON`: generators print errors alone; else a line for each stage with its seconds and the most memory so far, and on a terminal a bar |
| `AOTBUILD_TERMINAL` | `ON`: under Ninja generators have the terminal, one at a time, and what they print is seen at once, the bar too; else Ninja shows it when a generator is done. Default: `ON` where one generator runs at a time. `JOB_POOL` goes before it |
| `AOTBUILD_CACHE_DIR` | the folder of the compile cache; default: the environment variable of that name while building, else no cache |
| `AOTBUILD_CACHE_URL` | a server that shares the compile cache; default: the environment variable of that name while building |
| `AOTBUILD_ONEDNN` | `ON`: a runtime with oneDNN 3 (`pip install aotbuild[onednn]`), a library of 44 MB that compiles its kernels at run time, in memory that is writable and executable. It has convolutions and computed products of 16-bit types for processors with instructions for them (AVX512_BF16, AMX), which the runtime's own kernels use for linear layers of bfloat16 alone; float32 gains little or nothing. `benchmarks/peers.py --onednn` compares both runtimes on the machine at hand |
| `AOTBUILD_DNNL_LIBRARY`, `AOTBUILD_DNNL_INCLUDE_DIR` | oneDNN, where that is on; default: the Python environment's, else the system's |
| `AOTBUILD_PREBUILT_RUNTIME` | `OFF`: compile the runtime in the project, instead of taking the Python package's objects of it. Those are taken when they are of the same sources, system and compiler, which may be a later version of it, and neither cross-compiling nor flags (`-fsanitize`, `-march`, `-stdlib`, `--coverage`, macros of libstdc++) ask for others |
| `AOTBUILD_SLEEF` | `OFF`: kernels call the C library's functions for each element in the place of Sleef's for a vector; default: `ON` on Linux for x86-64 and 64-bit Arm |
| `AOTBUILD_SLEEF_LIBRARY`, `AOTBUILD_SLEEF_INCLUDE_DIR` | Sleef, found in the same way; where there is none, the Python package's own |
| `AOTBUILD_EIGEN_INCLUDE_DIR` | the folder of Eigen 3.4's `Eigen/Core`, found in the same way; without Eigen, models with linear algebra or Fourier transforms are refused |
| `AOTBUILD_EIGEN` | `OFF`: a runtime without what needs Eigen, which compiles in half the time where it is compiled |
| `AOTBUILD_NLOHMANN_JSON_INCLUDE_DIR` | the folder of `nlohmann/json.hpp` |
| `AOTBUILD_TUNE_RUNNER` | a command that runs what follows it on a machine with a GPU, such as `srun --gpus=1`, for `<target>.tune`; default: here |
| `AOTBUILD_TUNE_SHARDS` | how many devices `<target>.tune` uses at a time; default 1 |
| `AOTBUILD_TUNE_ARCHITECTURE` | the architecture that `<target>.tune` is for; default: the first of the model's |
| `AOTBUILD_GENERATOR` | a script that stands in for `python -m aotbuild`, for tests of build systems; also an environment variable |

## The compile cache

With `AOTBUILD_CACHE_DIR` set to a folder, a clean build of an unchanged model takes what the generator wrote before and
does not even import torch; with new weights in an unchanged model, the export runs and the lowering does not; kernels
of GPUs that are the same, in another model or after a change elsewhere in it, are not compiled again. A result is taken
when the model would be made from the same again: its own file, every file that it opened, the modules that it imported
and where they were found, folders that it listed, environment variables that it read, and that what was missing is
missing still; beside those, the arguments, the versions and contents of all installed Python packages, and aotbuild
itself. Files of the project (the folder of the top `CMakeLists.txt`) are looked up in the checkout that builds and
nowhere else; a file outside of it has to be the same both at its own path and as seen from the project. So the folder
may be shared by checkouts, by parallel builds and, over a network, by machines; files and folders below it get its
permissions, so that everybody who may write to it may add to it. `OFF` or an empty value means off.

| environment variable | default | |
|---|---|---|
| `AOTBUILD_CACHE_DIR` | off | the folder |
| `AOTBUILD_CACHE_SIZE` | `5G` | what was not used for the longest time is removed beyond this size |
| `AOTBUILD_CACHE_URL` | off | a server's folder, `http://host/folder` or `https://user:password@host/folder`, of the same files: what the folder lacks is looked for there (GET), and what is kept is sent there (PUT) |

What Python code, torch and safetensors open while the model is made is seen. Files that other native code opens by
itself, or another process, have to be in the model's `data_files`; the time, random numbers and what comes over a
network are not seen. A result is bound to its folder when a file or variable that the model read holds the folder's
path, or when the model adds a folder outside of the project to `sys.path`; and it is not kept when a file changes while
the model is made. A damaged entry is ignored with a warning.

Any server that takes GET and PUT of files is a cache for builds on many machines, such as those that ccache, sccache
and Bazel use: nginx with `dav_methods PUT; create_full_put_path on;`. A server that does not answer within 20 seconds
is one warning and not asked again by that build; one that refuses PUT is read only. Entries are the work of earlier
builds, and parts of them are pickled Python: let none write to a cache, folder or server, whom you would not let run
your builds.

Object files are for ccache or sccache, as in any C++ project (`CMAKE_CXX_COMPILER_LAUNCHER`): the generated sources
hold no path, and with `CCACHE_BASEDIR` other checkouts hit too.

## Values

In `PARAMS`, `OPTIONS`, and `SIGNATURE`, `CONFIGS` and `EXAMPLES` of kernels a value is

| written | is |
|---|---|
| `true`, `on`, `false`, `off`, `none`, in upper or lower case | `True`, `False`, `None` |
| `8`, `-1`, `0x10`, `1_000` | an int |
| `0.5`, `1e-5`, `inf`, `nan` | a float |
| `[1, 2]`, `(1, 2)`, `{a: 1}`, in quotation marks of CMake where blanks are in it | a list, a tuple, a dictionary of values |
| anything else | that string |
| `'true'`, `'8'` | a string that would read as another value |

For `OPTIONS` the setting's type decides: a bool takes `1` and `0` too, a string takes all as it stands, and any other
value is an error. `CONFIG` has the types of TOML.

## Cross-compiling

The toolchain file says what the library is for: `CMAKE_SYSTEM_PROCESSOR` gives the default of `CPU_ISA`, and nothing
that is built for the target runs on the host, which needs Python and torch alone. The target's Sleef and
GoogleTest have to lie where CMake finds them. The model's test runs through `CMAKE_CROSSCOMPILING_EMULATOR`:

    set(CMAKE_SYSTEM_NAME Linux)
    set(CMAKE_SYSTEM_PROCESSOR aarch64)
    set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
    set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64;-L;/usr/aarch64-linux-gnu)

[Platforms](platforms.md) has the toolchain file for Windows, and what is built and run for each system.

## Tolerances

The test allows `atol + rtol * |expected|` at each element, as `torch.testing.assert_close` does, and NaN for NaN alone.
Integers and booleans have to be equal. Each output of each case has tolerances of its own, recorded with it:

- They follow the coarsest type that an operator rounded to on the way to the output. Inputs and weights are exact,
  whatever type they have, so a float32 output beside a bfloat16 one is compared as float32.
- The call is run once more in float64, and eager PyTorch's greatest error is measured: `atol` is 8 times that error for
  float32 and 3 times for half types. `rtol` is 16 machine epsilons of float32 or 2 of half types, and `atol` no less
  than that part of the output's greatest value; 4 times as much for outputs of fewer than 64 elements.
- Where float64 cannot be run or gives something else (random numbers, types written into the model, more than 2^27
  elements), `rtol` is 1e-4 for float32, 1e-2 for float16, 2e-2 for bfloat16 and 1e-7 for float64, and `atol` 1e-5,
  2e-3, 2e-2 and 1e-7 of the output's greatest value.
- With `PRECISION` they are those of its type: `atol` is 3 times the greatest error of eager PyTorch under
  `torch.autocast`, against float64.

`RTOL` and `ATOL`, or `rtol` and `atol` of the model file, take the place of one of the two for all outputs.

## What runs again

| touched | generator | compiled |
|---|---|---|
| nothing | no | nothing |
| the program's C++ | no | that file |
| the model's file, or a project file that it imports | yes | the sources that come out different |
| only the weights | yes | the file that embeds them, or nothing with `WEIGHTS FILE` |
| an argument of `add_aot_model`, or its `CONFIG` file | yes | the sources that come out different |
| the tuning database | yes | the files that embed kernels that come out different |

`cmake --build <dir> --target <target>.explain` says which of these holds at the moment.
#]=]
cmake_minimum_required(VERSION 3.24)
include_guard(GLOBAL)

include("${CMAKE_CURRENT_LIST_DIR}/private/Arguments.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Dependencies.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Explain.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Facts.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Flags.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Generator.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Groups.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Isa.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/JobPools.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Plan.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Python.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Runtime.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Sbom.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Torch.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Triton.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Tune.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/private/Weights.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AotbuildGenerate.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AotbuildAddModelTest.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AotbuildAddModelBenchmark.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AddAotPythonExtension.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AotbuildEmbedBinary.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AotbuildAddTritonModel.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AotbuildAddWasmModule.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AotbuildInstall.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AddAotModel.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AddAotKernel.cmake")
