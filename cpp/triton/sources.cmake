#The sources of libtriton_aotbuild.so, from this folder on.
set(AOTBUILD_TRITON_SOURCES backend.cpp call.cpp config.cpp generator.cpp library.cpp metrics.cpp model.cpp request.cpp)
