# WebAssembly by Emscripten, whose programs Node runs. Debian: emscripten, nodejs.
include(/usr/share/emscripten/cmake/Modules/Platform/Emscripten.cmake)
# Files are those of the machine; memory is what a program asks for.
set(CMAKE_EXE_LINKER_FLAGS_INIT "-sNODERAWFS=1 -sALLOW_MEMORY_GROWTH=1 -sEXIT_RUNTIME=1")
# Emscripten 3.1.6 takes a Node that has fetch() for a browser.
set(CMAKE_CROSSCOMPILING_EMULATOR node;--no-experimental-fetch)
