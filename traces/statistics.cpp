#include "traces/statistics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>

namespace moesim {
namespace {

constexpr std::uint64_t kNodeOverhead = 96;  // of one entry of a map, roughly

using Counts = std::vector<std::uint64_t>;

// With its share of the totals by layer.
std::uint64_t bytes_of(const Counts& counts) { return 2 * (kNodeOverhead + counts.size() * sizeof(std::uint64_t)); }

std::uint64_t sum_of(const Counts& counts) { return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}); }

double max_over_mean(const Counts& counts) {
  const auto largest = *std::max_element(counts.begin(), counts.end());
  return static_cast<double>(largest) * static_cast<double>(counts.size()) / static_cast<double>(sum_of(counts));
}

double normalised_entropy(const Counts& counts) {
  const auto total = static_cast<double>(sum_of(counts));
  double entropy = 0;
  for (const std::uint64_t c : counts) {
    if (c == 0) continue;
    const double share = static_cast<double>(c) / total;
    entropy -= share * std::log(share);
  }
  return entropy / std::log(static_cast<double>(counts.size()));
}

double device_max_over_mean(const Counts& counts, int ep) {
  const std::size_t per_device = counts.size() / static_cast<std::size_t>(ep);
  Counts devices(static_cast<std::size_t>(ep), 0);
  for (std::size_t e = 0; e < counts.size(); ++e) devices[e / per_device] += counts[e];
  return max_over_mean(devices);
}

std::optional<double> cosine(const Counts& a, const Counts& b) {
  double dot = 0, aa = 0, bb = 0;
  for (std::size_t e = 0; e < a.size(); ++e) {
    const auto x = static_cast<double>(a[e]);
    const auto y = static_cast<double>(b[e]);
    dot += x * y;
    aa += x * x;
    bb += y * y;
  }
  if (aa == 0 || bb == 0) return std::nullopt;
  return dot / std::sqrt(aa * bb);
}

}  // namespace

StatisticsSink::StatisticsSink(StatisticsOptions options) : options_(std::move(options)) {
  result_.settled_from = options_.settled_from;
  for (const std::int64_t lag : options_.lags) result_.lags.push_back({lag, {}, {}});
}

Status StatisticsSink::token(const TokenRow& /*row*/) { MOESIM_ASSERT(false); }

Status StatisticsSink::counts(const CountRow& row) {
  const std::int64_t iteration = row.key.iteration;
  if (result_.rows++ == 0) {
    result_.experts = static_cast<int>(row.counts.size());
    for (int ep = 2; ep <= result_.experts; ep *= 2)
      if (result_.experts % ep == 0) result_.devices.push_back({ep, {}});
  }
  if (retired_up_to_ && iteration <= *retired_up_to_) {
    ++late_rows_;
    return {};
  }
  if (last_step_ == nullptr || iteration != last_iteration_) {
    const auto [place, added] = open_.try_emplace(iteration);
    if (added) open_bytes_ += kNodeOverhead;
    last_step_ = &place->second;
    last_iteration_ = iteration;
  }
  if (last_step_->totalled) {  // it was compared with an earlier step before it was complete
    last_step_->totals.clear();
    last_step_->totalled = false;
  }
  Counts& sums = last_step_->by_layer_and_rank[{row.key.layer, row.key.source_rank}];
  if (sums.empty()) {
    sums.resize(row.counts.size());
    open_bytes_ += bytes_of(sums);
  }
  for (std::size_t e = 0; e < row.counts.size(); ++e) sums[e] += row.counts[e];
  micro_batches_.insert(row.key.micro_batch);
  if (row.key.source_rank != kSummedOverRanks) ranks_.insert(row.key.source_rank);
  while (open_bytes_ > options_.memory_limit_bytes && open_.size() > 1) retire_first();
  return {};
}

void StatisticsSink::total(OpenStep& step) const {
  if (step.totalled) return;
  step.totalled = true;
  for (const auto& [key, counts] : step.by_layer_and_rank) {
    Counts& sums = step.totals[key.first];
    sums.resize(counts.size());
    for (std::size_t e = 0; e < counts.size(); ++e) sums[e] += counts[e];
  }
  std::erase_if(step.totals, [](const auto& layer) { return sum_of(layer.second) == 0; });
}

void StatisticsSink::retire_first() {
  const auto first = open_.begin();
  const std::int64_t iteration = first->first;
  total(first->second);
  add_step(iteration, first->second);
  add_lags(iteration, first->second);
  add_rank_cv(iteration, first->second);
  if (retired_steps_ > 0) add_devices(first->second);
  for (const auto& [key, counts] : first->second.by_layer_and_rank) open_bytes_ -= bytes_of(counts);
  open_bytes_ -= kNodeOverhead;
  if (retired_steps_++ == 0) {
    result_.first_iteration = iteration;
    first_ = std::move(first->second);
  }
  result_.last_iteration = iteration;
  retired_up_to_ = iteration;
  if (last_step_ == &first->second) last_step_ = nullptr;
  open_.erase(first);
}

void StatisticsSink::add_step(std::int64_t iteration, const OpenStep& step) {
  StepStatistics s;
  s.iteration = iteration;
  s.entropy_min = 1;
  for (const auto& [layer, counts] : step.totals) {
    const double imbalance = max_over_mean(counts);
    const double entropy = normalised_entropy(counts);
    const auto total_count = static_cast<double>(sum_of(counts));
    Counts sorted = counts;
    const std::size_t n = std::min<std::size_t>(4, sorted.size());
    std::partial_sort(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(n), sorted.end(), std::greater<>());
    const auto share = [&](std::size_t top) {
      const auto end = sorted.begin() + static_cast<std::ptrdiff_t>(std::min(top, n));
      return static_cast<double>(std::accumulate(sorted.begin(), end, std::uint64_t{0})) / total_count;
    };
    s.selections += sum_of(counts);
    s.max_over_mean += imbalance;
    s.entropy_mean += entropy;
    s.entropy_min = std::min(s.entropy_min, entropy);
    s.top1_share += share(1);
    s.top2_share += share(2);
    s.top4_share += share(4);
    s.zero_count_experts += static_cast<std::uint64_t>(std::count(counts.begin(), counts.end(), 0U));
    layers_[layer].max_over_mean.add(imbalance);
    layers_[layer].entropy.add(entropy);
  }
  result_.selections += s.selections;
  if (step.totals.empty()) return;
  const auto layers = static_cast<double>(step.totals.size());
  for (double* mean : {&s.max_over_mean, &s.entropy_mean, &s.top1_share, &s.top2_share, &s.top4_share}) *mean /= layers;

  StepStatistics& all = result_.mean;  // sums until finish()
  all.entropy_min = result_.iterations == 0 ? s.entropy_min : std::min(all.entropy_min, s.entropy_min);
  all.selections += s.selections;
  all.max_over_mean += s.max_over_mean;
  all.entropy_mean += s.entropy_mean;
  all.top1_share += s.top1_share;
  all.top2_share += s.top2_share;
  all.top4_share += s.top4_share;
  all.zero_count_experts += s.zero_count_experts;
  keep_in_table(s);
  ++result_.iterations;
}

void StatisticsSink::keep_in_table(const StepStatistics& step) {
  const auto index = static_cast<std::int64_t>(result_.iterations);
  if (index % result_.step_stride != 0) return;
  if (result_.steps.size() == options_.most_steps) {
    for (std::size_t i = 0; 2 * i < result_.steps.size(); ++i) result_.steps[i] = result_.steps[2 * i];
    result_.steps.resize((result_.steps.size() + 1) / 2);
    result_.step_stride *= 2;
    if (index % result_.step_stride != 0) return;
  }
  result_.steps.push_back(step);
}

void StatisticsSink::add_devices(const OpenStep& step) {
  for (DeviceBalance& device : result_.devices)
    for (const auto& [layer, counts] : step.totals) device.max_over_mean.add(device_max_over_mean(counts, device.ep));
}

void StatisticsSink::add_lags(std::int64_t iteration, const OpenStep& step) {
  for (LagStatistics& lag : result_.lags) {
    const auto later = iteration > INT64_MAX - lag.lag ? open_.end() : open_.find(iteration + lag.lag);
    if (later == open_.end()) continue;
    total(later->second);
    MeanOf over_layers;
    for (const auto& [layer, counts] : step.totals) {
      const auto other = later->second.totals.find(layer);
      if (other == later->second.totals.end()) continue;
      if (const auto similarity = cosine(counts, other->second)) over_layers.add(*similarity);
    }
    if (const auto mean = over_layers.value()) {
      lag.cosine.add(*mean);
      if (iteration >= options_.settled_from) lag.cosine_settled.add(*mean);
    }
  }
}

void StatisticsSink::add_rank_cv(std::int64_t iteration, const OpenStep& step) {
  double deviation = 0;
  double mean = 0;
  for (auto group = step.by_layer_and_rank.begin(); group != step.by_layer_and_rank.end();) {
    auto end = group;
    while (end != step.by_layer_and_rank.end() && end->first.first == group->first.first) ++end;
    const auto ranks = static_cast<double>(std::distance(group, end));
    const std::size_t experts = group->second.size();
    for (std::size_t e = 0; ranks > 1 && e < experts; ++e) {
      double sum = 0, squares = 0;
      for (auto rank = group; rank != end; ++rank) sum += static_cast<double>(rank->second[e]);
      for (auto rank = group; rank != end; ++rank) {
        const double off = static_cast<double>(rank->second[e]) - sum / ranks;
        squares += off * off;
      }
      deviation += std::sqrt(squares / ranks);
      mean += sum / ranks;
    }
    group = end;
  }
  if (mean == 0) return;
  result_.rank_cv.add(deviation / mean);
  if (iteration >= options_.settled_from) result_.rank_cv_settled.add(deviation / mean);
}

TraceStatistics StatisticsSink::finish(Findings& findings) && {
  while (!open_.empty()) retire_first();
  if (retired_steps_ == 1) add_devices(first_);
  if (late_rows_ > 0)
    findings.add(
        Severity::kDataLoss, "late-rows",
        fmt::format("rows of iterations up to {} came after far later ones and are left out of the statistics; "
                    "sort the trace by iteration",
                    *retired_up_to_),
        {}, late_rows_);
  result_.micro_batches = micro_batches_.size();
  result_.source_ranks = ranks_.size();
  StepStatistics& mean = result_.mean;
  const auto steps = static_cast<double>(std::max<std::uint64_t>(1, result_.iterations));
  for (double* value : {&mean.max_over_mean, &mean.entropy_mean, &mean.top1_share, &mean.top2_share, &mean.top4_share})
    *value /= steps;
  for (const auto& [layer, sums] : layers_)
    result_.layers.push_back({layer, sums.max_over_mean.value().value_or(0), sums.entropy.value().value_or(0)});
  return std::move(result_);
}

}  // namespace moesim
