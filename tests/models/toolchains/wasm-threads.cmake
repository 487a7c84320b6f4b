# WebAssembly with threads by Emscripten, whose programs Node runs. Debian: emscripten, nodejs.
include("${CMAKE_CURRENT_LIST_DIR}/wasm.cmake")
set(CMAKE_C_FLAGS_INIT -pthread)
set(CMAKE_CXX_FLAGS_INIT -pthread)
# Threads that the program may start at once; Node makes others only where the program returns to it.
string(APPEND CMAKE_EXE_LINKER_FLAGS_INIT " -sPTHREAD_POOL_SIZE=8")
