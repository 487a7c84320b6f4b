// Which release these headers are of. What crosses from one library to another is versioned in c_api.h.
#ifndef AOTBUILD_DETAIL_VERSION_H_
#define AOTBUILD_DETAIL_VERSION_H_

// Generated code, the runtime that it calls and these headers are always of one release: 10000 * major + 100 * minor +
// patch.
#define AOTBUILD_RELEASE 100

// All of the public C++ headers is in inline namespaces of this name, so that plugins which were compiled with headers
// of different releases share none of their functions in one process. A hidden namespace would do that too, but GCC
// warns where a class of the user's has members of its types.
#define AOTBUILD_NAMESPACE v0_1_0

#endif  // AOTBUILD_DETAIL_VERSION_H_
