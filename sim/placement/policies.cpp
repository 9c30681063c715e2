#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.hpp"
#include "sim/placement/policies/policies.hpp"
#include "sim/placement/policy.hpp"

namespace moesim {

std::span<const PlacementPolicy* const> placement_policies() {
  static const std::array<const PlacementPolicy*, 10> kPolicies = {
      &contiguous_policy(), &greedy_policy(),      &local_search_policy(),      &co_activation_policy(),
      &shadow_policy(),     &eplb_global_policy(), &eplb_hierarchical_policy(), &flex_policy(),
      &laer_policy(),       &lp_split_policy()};
  return kPolicies;
}

Result<const PlacementPolicy*> find_placement_policy(std::string_view name) {
  std::vector<std::string> names;
  for (const PlacementPolicy* policy : placement_policies()) {
    if (policy->name() == name) return policy;
    names.emplace_back(policy->name());
  }
  return usage_error(fmt::format("unknown placement policy '{}'{}", name, did_you_mean(name, names)),
                     fmt::format("one of {}", fmt::join(names, ", ")));
}

Status check_tokens(const PlacementPolicy& policy, bool has_tokens) {
  if (has_tokens || !policy.needs_tokens()) return {};
  return usage_error(fmt::format("{} looks at which experts tokens choose together, and the recording has counts by "
                                 "expert only",
                                 policy.name()),
                     "take a recording with a row for each token (docs/traces.md), or another policy");
}

}  // namespace moesim
