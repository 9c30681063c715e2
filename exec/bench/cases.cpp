#include "exec/bench/cases.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "base/text.hpp"

namespace moesim {
namespace {

constexpr std::array<CaseFamily, 9> kFamilies = {
    {{"gemm", "matrix products, forward and both gradients", gemm_cases},
     {"grouped", "the products of local experts, with even, uneven and empty groups", grouped_cases},
     {"attention", "causal attention with grouped queries, forward and backward", attention_cases},
     {"memory", "norm, activation, rotary, gate, permute, embedding, loss, add, copy, optimizer", memory_cases},
     {"launch", "a kernel on nothing", launch_cases},
     {"operation", "what the executor does for an operation beside its kernel", operation_cases},
     {"collectives", "every collective over sizes and over the groups of layouts; messages", collective_cases},
     {"exchanges", "all-to-alls by the algorithms of token exchanges, over the same", exchange_cases},
     {"overlap", "compute beside communication, two collectives together", overlap_cases}}};

}  // namespace

std::span<const CaseFamily> case_families() { return kFamilies; }

Result<std::vector<PlannedCase>> plan_cases(const std::vector<std::string>& families, BenchScale scale,
                                            const std::vector<std::string>& hosts) {
  std::vector<std::string> known;
  for (const CaseFamily& family : kFamilies) known.emplace_back(family.name);
  for (const std::string& name : families)
    if (std::ranges::find(known, name) == known.end())
      return usage_error(fmt::format("there are no cases '{}'{}", name, did_you_mean(name, known)),
                         fmt::format("known are {}", fmt::join(known, ", ")));
  std::vector<PlannedCase> cases;
  for (const CaseFamily& family : kFamilies) {
    if (!families.empty() && std::ranges::find(families, family.name) == families.end()) continue;
    std::vector<PlannedCase> part = family.plan(scale, hosts);
    std::ranges::move(part, std::back_inserter(cases));
  }
  return cases;
}

}  // namespace moesim
