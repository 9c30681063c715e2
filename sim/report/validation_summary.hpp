// How well predictions meet measurements: errors by metric, quality and hardware, and whether rows that differ only in
// layout come out in the right order.
//
// What is compared stands in a row each (ComparedRow); the rest is computed here.
//
//   relative_error  predicted / measured - 1
//   median, p90     of |relative_error|, by linear interpolation between the sorted values
//   Kendall's tau   tau-b over the pairs of a rank group: 1 the same order, -1 the reverse, 0 unrelated; pairs tied in one
//                   of the two count in its normalisation only; no value when one side is one tie
//   regret          how much worse than the group's best measured row the one is that we predict to be best: 0 is the right
//                   choice; of several that we predict alike the worst measured one counts
// A rank group is judged per metric, and only with two predicted rows at least.
// Worked: measured times {1, 2, 3}, predicted {2, 1, 3}: pairs (1,2) discordant, (1,3) and (2,3) concordant, tau 1/3; we
// choose the second: regret 2/1 - 1 = 1.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/report/metric.hpp"

namespace moesim {

enum class Better : std::uint8_t {
  kLower,
  kHigher,
  kNeither,  // a constraint rather than a goal, such as memory: layouts are not ranked by it
};

struct ComparedRow {
  std::string id;
  std::string law;      // "gemm", "all_reduce", "step", ...: what made the prediction
  std::string metric;   // "step_time_s"
  std::string skipped;  // why there is no prediction; empty: there is one
  double predicted = 0;
  double measured = 0;  // more than 0 where there is a prediction
  Better better = Better::kLower;
  std::string quality;     // "A", "B", "C"
  std::string hardware;    // as the file spells it
  std::string rank_group;  // empty: in none
  std::string assumed;     // what the row leaves open and the prediction took, for people; may be empty

  [[nodiscard]] double relative_error() const { return predicted / measured - 1; }
};

struct ErrorStatistics {
  std::string metric;
  // The one it is summarised by is set, the others are empty.
  std::string law;
  std::string quality;
  std::string hardware;
  std::int64_t rows = 0;
  double median = 0;
  double p90 = 0;
  double bias = 0;  // median of the signed error
};

struct RankGroupSummary {
  std::string rank_group;
  std::string metric;
  std::int64_t rows = 0;
  std::optional<double> kendall_tau;
  double regret = 0;
  std::string our_choice;  // id
  std::string best;        // id of the best measured
};

struct ValidationSummary {
  std::int64_t rows = 0;
  std::int64_t predicted = 0;
  std::vector<std::pair<std::string, std::int64_t>> skipped;  // reason and rows, most frequent first
  // Sorted by metric, then law, quality or hardware.
  std::vector<ErrorStatistics> by_metric;
  std::vector<ErrorStatistics> by_law;
  std::vector<ErrorStatistics> by_quality;
  std::vector<ErrorStatistics> by_hardware;
  std::vector<RankGroupSummary> rank_groups;  // sorted by name, then metric
  // Over rank_groups; none without any.
  std::optional<double> median_kendall_tau;
  std::optional<double> median_regret;
  std::optional<double> mean_regret;
  std::optional<double> right_choice_share;  // of groups with regret 0
};

[[nodiscard]] ValidationSummary summarize_validation(const std::vector<ComparedRow>& rows);

// Tau-b of two lists of equal length; no value when either is constant or shorter than two.
[[nodiscard]] std::optional<double> kendall_tau(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace moesim
