// What a stretch of time is called in breakdowns and colours. One table for reports, traces and the GUI.
#pragma once

#include <cstdint>
#include <string_view>

#include "sim/program/op.hpp"

namespace moesim {

enum class Category : std::uint8_t {
  kAttention,  // projections and core
  kDenseFfn,
  kExperts,  // routed experts' GEMMs and activations
  kSharedExperts,
  kRouting,  // gate, permutation, sorting
  kNorms,    // norms, residuals, casts
  kHead,     // embedding, logits, loss
  kOptimizer,
  kTpComm,
  kCpComm,
  kEpComm,
  kEspComm,
  kDpComm,
  kPpComm,  // a wait for a neighbour: pipeline bubble
  kCount,
};
constexpr int kCategories = static_cast<int>(Category::kCount);

[[nodiscard]] std::string_view category_name(Category category);         // "expert_compute": JSON keys
[[nodiscard]] std::string_view category_description(Category category);  // for people
[[nodiscard]] Category category_of(const Op& op);

}  // namespace moesim
