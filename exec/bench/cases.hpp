// The list of what is measured. Deterministic: the same scale, hosts and selection give the same cases on every rank.
//
// kSmall suits processors and slow links (layers of small models, messages up to 16 MiB), kLarge accelerators (expert and
// attention layers of published models, messages up to 1 GiB).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "exec/bench/planned_case.hpp"

namespace moesim {

enum class BenchScale : std::uint8_t { kSmall, kLarge };

// Part of the list: "gemm", "grouped", "attention", "memory", "launch", "operation", "collectives", "exchanges",
// "overlap".
struct CaseFamily {
  std::string_view name;
  std::string_view description;
  std::vector<PlannedCase> (*plan)(BenchScale scale, const std::vector<std::string>& hosts);
};
[[nodiscard]] std::span<const CaseFamily> case_families();

// The cases of these families, in the order of the table whatever the order of the names; all of them for an empty list. An unknown name is a
// usage error.
[[nodiscard]] Result<std::vector<PlannedCase>> plan_cases(const std::vector<std::string>& families, BenchScale scale,
                                                          const std::vector<std::string>& hosts);

// --- one per family, each in a file of its own
[[nodiscard]] std::vector<PlannedCase> gemm_cases(BenchScale scale, const std::vector<std::string>& hosts);
[[nodiscard]] std::vector<PlannedCase> grouped_cases(BenchScale scale, const std::vector<std::string>& hosts);
[[nodiscard]] std::vector<PlannedCase> attention_cases(BenchScale scale, const std::vector<std::string>& hosts);
[[nodiscard]] std::vector<PlannedCase> memory_cases(BenchScale scale, const std::vector<std::string>& hosts);
[[nodiscard]] std::vector<PlannedCase> launch_cases(BenchScale scale, const std::vector<std::string>& hosts);
[[nodiscard]] std::vector<PlannedCase> operation_cases(BenchScale scale, const std::vector<std::string>& hosts);
[[nodiscard]] std::vector<PlannedCase> collective_cases(BenchScale scale, const std::vector<std::string>& hosts);
[[nodiscard]] std::vector<PlannedCase> exchange_cases(BenchScale scale, const std::vector<std::string>& hosts);
[[nodiscard]] std::vector<PlannedCase> overlap_cases(BenchScale scale, const std::vector<std::string>& hosts);

}  // namespace moesim
