// The one matrix product that everything is made of, row-major and in FP32.
#pragma once

#include <cstdint>

namespace moesim {

enum class Transpose : std::uint8_t { kNo, kYes };

struct Sgemm {
  std::int64_t m = 0, n = 0, k = 0;
  float alpha = 1.0F;
  const float* a = nullptr;  // [m, k], or [k, m] where transposed
  std::int64_t a_stride = 0;
  Transpose a_transposed = Transpose::kNo;
  const float* b = nullptr;  // [k, n], or [n, k] where transposed
  std::int64_t b_stride = 0;
  Transpose b_transposed = Transpose::kNo;
  float beta = 0.0F;   // 0: what stands in c is not read
  float* c = nullptr;  // [m, n]
  std::int64_t c_stride = 0;
};
// c = alpha a b + beta c, also where m, n or k is 0. Sizes and strides fit 32 bits (Checks).
void sgemm(const Sgemm& s);

void set_blas_threads(int threads);

}  // namespace moesim
