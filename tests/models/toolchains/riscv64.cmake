# 64-bit RISC-V Linux, whose programs qemu runs. Debian: g++-riscv64-linux-gnu, qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR riscv64)
set(CMAKE_C_COMPILER riscv64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER riscv64-linux-gnu-g++)
# One thread: OpenMP programs of two threads do not end under the qemu-user of some machines.
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-riscv64;-L;/usr/riscv64-linux-gnu;-E;OMP_NUM_THREADS=1)
