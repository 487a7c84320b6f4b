// The attributes of the public headers, but for that of c_api.h, which stands alone.
#ifndef AOTBUILD_DETAIL_EXPORT_H_
#define AOTBUILD_DETAIL_EXPORT_H_

// Which symbols of the runtime leave the library that holds it: none, unless the runtime is a shared library itself.
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

// Variables in headers: no library exports them, and so a plugin that includes them can be unloaded. GCC makes exported
// ones unique in the process, and keeps their library for ever. Windows has no such thing.
#if defined(_WIN32)
#define AOTBUILD_HIDDEN
#else
#define AOTBUILD_HIDDEN __attribute__((visibility("hidden")))
#endif

#endif  // AOTBUILD_DETAIL_EXPORT_H_
