#include "base/error.hpp"

#include <cstdio>
#include <cstdlib>

namespace moesim {

void assertion_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "moesim: internal error: %s:%d: assertion failed: %s\n", file, line, expression);
  std::abort();
}

}  // namespace moesim
