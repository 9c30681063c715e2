// Operands of the GPU kernels, in C++17 and without the project's headers, because nvcc compiles what includes this.
//
// Row-major; element (r, c) stands at data + r * stride + c, counted in elements. An operand without data is absent.
#pragma once

#include <cstdint>

namespace moesim::gpu {

enum class Element : std::uint8_t { kFp32, kBf16, kFp8 };  // kFp8: E4M3, of fp8_rows.hpp only

struct Operand {
  void* data = nullptr;
  Element type = Element::kFp32;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t stride = 0;
};

// A cudaStream_t.
using Stream = void*;

}  // namespace moesim::gpu
