#include "sim/report/validation_summary.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "base/error.hpp"
#include "calibration/quantile.hpp"

namespace moesim {
namespace {

using Rows = std::vector<const ComparedRow*>;

ErrorStatistics error_statistics(const Rows& rows) {
  std::vector<double> sizes;
  std::vector<double> signed_errors;
  for (const ComparedRow* row : rows) {
    signed_errors.push_back(row->relative_error());
    sizes.push_back(std::abs(row->relative_error()));
  }
  ErrorStatistics summary;
  summary.metric = rows.front()->metric;
  summary.rows = static_cast<std::int64_t>(rows.size());
  summary.median = quantile(sizes, 0.5);
  summary.p90 = quantile(sizes, 0.9);
  summary.bias = quantile(signed_errors, 0.5);
  return summary;
}

// One summary per metric and value of `field` (a member of both ComparedRow and ErrorStatistics).
std::vector<ErrorStatistics> statistics_by(const Rows& rows, std::string ComparedRow::*from,
                                           std::string ErrorStatistics::*to) {
  std::map<std::pair<std::string, std::string>, Rows> groups;
  for (const ComparedRow* row : rows) groups[{row->metric, row->*from}].push_back(row);
  std::vector<ErrorStatistics> summaries;
  for (const auto& [key, members] : groups) {
    summaries.push_back(error_statistics(members));
    summaries.back().*to = key.second;
  }
  return summaries;
}

// As a time: smaller is better.
double cost_of(double value, Better better) { return better == Better::kLower ? value : 1 / value; }

RankGroupSummary rank_group_summary(const Rows& rows) {
  std::vector<double> predicted;
  std::vector<double> measured;
  for (const ComparedRow* row : rows) {
    predicted.push_back(cost_of(row->predicted, row->better));
    measured.push_back(cost_of(row->measured, row->better));
  }
  const std::size_t best = std::min_element(measured.begin(), measured.end()) - measured.begin();
  std::size_t chosen = std::min_element(predicted.begin(), predicted.end()) - predicted.begin();
  const double lowest = predicted[chosen];
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (predicted[i] == lowest && measured[i] > measured[chosen]) chosen = i;
  RankGroupSummary summary;
  summary.rank_group = rows.front()->rank_group;
  summary.metric = rows.front()->metric;
  summary.rows = static_cast<std::int64_t>(rows.size());
  summary.kendall_tau = kendall_tau(predicted, measured);
  summary.regret = measured[chosen] / measured[best] - 1;
  summary.our_choice = rows[chosen]->id;
  summary.best = rows[best]->id;
  return summary;
}

std::vector<RankGroupSummary> rank_group_summaries(const Rows& rows) {
  std::map<std::pair<std::string, std::string>, Rows> groups;
  for (const ComparedRow* row : rows)
    if (!row->rank_group.empty() && row->better != Better::kNeither)
      groups[{row->rank_group, row->metric}].push_back(row);
  std::vector<RankGroupSummary> summaries;
  for (const auto& [key, members] : groups)
    if (members.size() >= 2) summaries.push_back(rank_group_summary(members));
  return summaries;
}

std::vector<std::pair<std::string, std::int64_t>> skip_reasons(const std::vector<ComparedRow>& rows) {
  std::map<std::string, std::int64_t> counts;
  for (const ComparedRow& row : rows)
    if (!row.skipped.empty()) ++counts[row.skipped];
  std::vector<std::pair<std::string, std::int64_t>> reasons(counts.begin(), counts.end());
  std::stable_sort(reasons.begin(), reasons.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  return reasons;
}

void judge_rank_groups(ValidationSummary& summary) {
  if (summary.rank_groups.empty()) return;
  std::vector<double> taus;
  std::vector<double> regrets;
  double total = 0;
  double right = 0;
  for (const RankGroupSummary& group : summary.rank_groups) {
    if (group.kendall_tau) taus.push_back(*group.kendall_tau);
    regrets.push_back(group.regret);
    total += group.regret;
    right += group.regret == 0 ? 1 : 0;
  }
  const auto groups = static_cast<double>(regrets.size());
  if (!taus.empty()) summary.median_kendall_tau = quantile(taus, 0.5);
  summary.median_regret = quantile(regrets, 0.5);
  summary.mean_regret = total / groups;
  summary.right_choice_share = right / groups;
}

}  // namespace

ValidationSummary summarize_validation(const std::vector<ComparedRow>& rows) {
  ValidationSummary summary;
  summary.rows = static_cast<std::int64_t>(rows.size());
  Rows predicted;
  for (const ComparedRow& row : rows) {
    if (!row.skipped.empty()) continue;
    MOESIM_ASSERT(row.measured > 0);
    predicted.push_back(&row);
  }
  summary.predicted = static_cast<std::int64_t>(predicted.size());
  summary.skipped = skip_reasons(rows);
  std::map<std::string, Rows> metrics;
  for (const ComparedRow* row : predicted) metrics[row->metric].push_back(row);
  for (const auto& [metric, members] : metrics) summary.by_metric.push_back(error_statistics(members));
  summary.by_law = statistics_by(predicted, &ComparedRow::law, &ErrorStatistics::law);
  summary.by_quality = statistics_by(predicted, &ComparedRow::quality, &ErrorStatistics::quality);
  summary.by_hardware = statistics_by(predicted, &ComparedRow::hardware, &ErrorStatistics::hardware);
  summary.rank_groups = rank_group_summaries(predicted);
  judge_rank_groups(summary);
  return summary;
}

std::optional<double> kendall_tau(const std::vector<double>& a, const std::vector<double>& b) {
  MOESIM_ASSERT(a.size() == b.size());
  double concordance = 0;  // concordant minus discordant pairs
  double untied_a = 0;
  double untied_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t j = i + 1; j < a.size(); ++j) {
      const int in_a = (a[i] < a[j]) - (a[i] > a[j]);
      const int in_b = (b[i] < b[j]) - (b[i] > b[j]);
      concordance += in_a * in_b;
      untied_a += in_a != 0 ? 1 : 0;
      untied_b += in_b != 0 ? 1 : 0;
    }
  if (untied_a == 0 || untied_b == 0) return std::nullopt;
  return concordance / std::sqrt(untied_a * untied_b);
}

}  // namespace moesim
