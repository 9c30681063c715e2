// Number formats in which token rows travel to and from the experts, narrower than those they are computed in: what ScheMoE (EuroSys
// 2024) compresses, and FP8 dispatches with BF16 combines as of DeepSeek-V3 (arXiv 2412.19437, section 3.3).
//
// Rows are compressed before an exchange and decompressed behind it, by operations of the program, so that bytes on the wire, memory
// and time follow from their shapes. FP8 is E4M3 with a scale for each row and 128 columns. What decides is the kind of the
// exchange, not the pass: the gradients of combined rows are dispatched. Gate weights always travel as they are.
//
// Example: a dispatch of 100 rows of 256 columns in BF16 is 51,200 bytes; in FP8 100 * (256 + 2 * 4) = 26,400.
#pragma once

#include <optional>

#include "sim/plan/plan.hpp"
#include "sim/program/op.hpp"

namespace moesim {

// Of the gradients of what an exchange moves.
[[nodiscard]] constexpr OpKind opposite_exchange(OpKind exchange) {
  return exchange == OpKind::kDispatch ? OpKind::kCombine : OpKind::kDispatch;
}

// The format that rows of type `computed` are compressed to for such an exchange; none where the plan names none, or one that is
// not narrower.
[[nodiscard]] inline std::optional<DType> packed_type(const Plan& plan, OpKind exchange, DType computed) {
  const WireFormat format = exchange == OpKind::kDispatch ? plan.moe_dispatch_format : plan.moe_combine_format;
  if (format == WireFormat::kAsComputed) return std::nullopt;
  const DType type = format == WireFormat::kBf16 ? DType::kBf16 : DType::kFp8;
  if (half_bytes_per_element(type) >= half_bytes_per_element(computed)) return std::nullopt;
  return type;
}

}  // namespace moesim
