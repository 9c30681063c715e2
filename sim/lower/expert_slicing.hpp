// DeepSpeed slices experts as it slices attention, or not at all: ESP is 1 or TP, and both groups are the same ranks.
#pragma once

#include <fmt/format.h>

#include <string_view>

#include "base/error.hpp"
#include "sim/plan/plan.hpp"

namespace moesim {

[[nodiscard]] inline Status check_expert_slicing(std::string_view schedule, const Plan& plan) {
  const ParallelSizes& sizes = plan.sizes();
  if (sizes.esp == 1) return {};
  if (sizes.esp == sizes.tp && !plan.layout.order.starts_with("tp"))
    return usage_error(fmt::format("{} needs tp as the innermost dimension of the order of ranks, here '{}'", schedule,
                                   plan.layout.order),
                       "set \"order\": \"tp-cp-ep-dp-pp\"");
  if (sizes.esp == sizes.tp) return {};
  return usage_error(
      fmt::format("{} needs esp = 1 or esp = tp, here esp is {} and tp is {}", schedule, sizes.esp, sizes.tp),
      fmt::format("set \"esp\": {}, or take another MoE schedule", sizes.tp));
}

}  // namespace moesim
