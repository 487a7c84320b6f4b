// Environment variables of the test itself.
#ifndef AOTBUILD_TESTS_CPP_ENVIRONMENT_HPP_
#define AOTBUILD_TESTS_CPP_ENVIRONMENT_HPP_

#include <cstdlib>

inline void set_variable(const char* name, const char* value) {
#if defined(_WIN32)
  _putenv_s(name, value);
#else
  setenv(name, value, 1);
#endif
}

#endif  // AOTBUILD_TESTS_CPP_ENVIRONMENT_HPP_
