// Number formats and the training precision recipes that the memory and cost formulas know.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.hpp"
#include "base/units.hpp"

namespace moesim {

enum class DType : std::uint8_t { kFp32, kTf32, kBf16, kFp16, kFp8, kFp4, kInt8, kInt32, kInt64 };

// Storage bytes of one element, in halves so that FP4 (half a byte) is exact: 2 * bytes.
[[nodiscard]] constexpr std::int64_t half_bytes_per_element(DType type) {
  switch (type) {
    case DType::kFp32:
    case DType::kTf32:
    case DType::kInt32: return 8;
    case DType::kBf16:
    case DType::kFp16: return 4;
    case DType::kFp8:
    case DType::kInt8: return 2;
    case DType::kFp4: return 1;
    case DType::kInt64: return 16;
  }
  return 0;
}

[[nodiscard]] constexpr double bytes_per_element(DType type) {
  return static_cast<double>(half_bytes_per_element(type)) / 2;
}
[[nodiscard]] constexpr Bytes storage(std::int64_t elements, DType type) {
  return Bytes((elements * half_bytes_per_element(type) + 1) / 2);
}

// FP8 rows with scales of their own have one FP32 number for each row and so many columns (DeepSeek-V3, arXiv 2412.19437, 3.3.2).
constexpr std::int64_t kScaledColumns = 128;
[[nodiscard]] constexpr std::int64_t scales_of_row(std::int64_t columns) {
  return (columns + kScaledColumns - 1) / kScaledColumns;
}
[[nodiscard]] std::string_view dtype_name(DType type);  // "bf16"
[[nodiscard]] Result<DType> parse_dtype(std::string_view name);

// How a training run stores and computes. Sizes are per parameter, before ZeRO divides them.
struct PrecisionRecipe {
  std::string_view name;            // the value of --precision
  DType compute = DType::kBf16;     // GEMM input format
  DType activation = DType::kBf16;  // stored activations
  DType weight = DType::kBf16;      // resident weights that the GEMMs read
  DType gradient = DType::kFp32;    // accumulated main gradient, and what the data-parallel reduction sends
  // Optimizer: FP32 master weights and two Adam moments (4 + 4 + 4 bytes) unless the recipe says otherwise.
  DType master = DType::kFp32;
  DType moment = DType::kFp32;
  // The recipe keeps FP8 copies beside the BF16 weights (no FP8 primary parameters): bytes added per parameter.
  int extra_weight_copies_fp8 = 0;
};

// bf16, fp16, fp32, fp8 (FP8 GEMMs, BF16 weights kept), fp8-params (FP8 primary weights), and what the table adds.
[[nodiscard]] std::span<const PrecisionRecipe> precision_recipes();
[[nodiscard]] Result<PrecisionRecipe> find_precision(std::string_view name);

}  // namespace moesim
