// Which symbols of the runtime leave the library that holds it: none, unless the runtime is a shared library itself.
#ifndef AOTBUILD_DETAIL_EXPORT_H_
#define AOTBUILD_DETAIL_EXPORT_H_

// AOTBUILD_RUNTIME_EXPORTS is seen by the sources of a DLL alone. AOTBUILD_RUNTIME_SHARED_BUILD must be seen by the
// runtime's sources and by all code that links to the runtime.
#if defined(_WIN32)
#ifdef AOTBUILD_RUNTIME_EXPORTS
#define AOTBUILD_RUNTIME_API __declspec(dllexport)
#else
#define AOTBUILD_RUNTIME_API
#endif
#elif defined(AOTBUILD_RUNTIME_SHARED_BUILD)
#define AOTBUILD_RUNTIME_API __attribute__((visibility("default")))
#else
#define AOTBUILD_RUNTIME_API __attribute__((visibility("hidden")))
#endif

#endif  // AOTBUILD_DETAIL_EXPORT_H_
