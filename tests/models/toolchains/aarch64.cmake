# 64-bit Arm Linux, whose programs qemu runs. Debian: g++-aarch64-linux-gnu, qemu-user, libsleef-dev:arm64.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# One thread: OpenMP programs of two threads do not end under the qemu-user of some machines.
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64;-L;/usr/aarch64-linux-gnu;-E;OMP_NUM_THREADS=1)
