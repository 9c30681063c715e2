// How uneven, and how steady, the gate's choices are: one pass over the rows, memory bounded.
//
// c(i,l,e) is the count of iteration i, layer l and expert e, summed over source ranks and micro-batches.
//   max/mean      max_e c / mean_e c; 1 is perfect, E / top_k the worst that distinct choices allow
//   entropy       -sum p ln p / ln E with p = c / sum c; 1 is perfect
//   top-n share   the n largest c over the sum
//   cosine(lag)   between c(i,l,.) and c(i+lag,l,.), both recorded; lags are in iterations, as labelled
//   rank CV       over source ranks, of c by rank: sum over (l,e) of the standard deviation (population) divided by the
//                 sum of the mean, so that each expert weighs as much as it is used; absent for traces without ranks
//   device        contiguous experts on EP devices: max over devices / mean over devices
// Averaging, which is that of the tables published with the SmartMoE recording: per iteration, the mean over layers that
// have selections; cosine and CV then the mean over iterations, for all of them and for those from `settled_from` on;
// device balance the mean over all iterations but the first, when the gate is still random (a single one is kept).
// Worked: counts {6, 2, 0, 0}: max/mean 3, entropy (0.75 ln(4/3) + 0.25 ln 4) / ln 4 = 0.406, EP2 max/mean 2.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "traces/findings.hpp"
#include "traces/rows.hpp"

namespace moesim {

struct StatisticsOptions {
  std::vector<std::int64_t> lags = {10, 50, 100, 500, 1000};
  std::int64_t settled_from = 500;
  std::uint64_t memory_limit_bytes = 1ULL << 30;
  std::size_t most_steps = 4096;  // rows of the table by iteration; longer traces are thinned evenly
};

struct StepStatistics {
  std::int64_t iteration = 0;
  std::uint64_t selections = 0;
  double max_over_mean = 0;
  double entropy_mean = 0;
  double entropy_min = 0;
  double top1_share = 0;
  double top2_share = 0;
  double top4_share = 0;
  std::uint64_t zero_count_experts = 0;  // over all layers
};

struct LayerStatistics {
  std::int32_t layer = 0;
  double max_over_mean = 0;  // mean over iterations
  double entropy = 0;
};

// The mean over some pairs or iterations; no value when there were none.
struct MeanOf {
  double sum = 0;
  std::uint64_t count = 0;
  void add(double value) {
    sum += value;
    ++count;
  }
  [[nodiscard]] std::optional<double> value() const {
    return count == 0 ? std::nullopt : std::optional(sum / static_cast<double>(count));
  }
};

struct LagStatistics {
  std::int64_t lag = 0;
  MeanOf cosine;          // over all iterations
  MeanOf cosine_settled;  // both iterations from settled_from on
};

struct DeviceBalance {
  int ep = 0;
  MeanOf max_over_mean;
};

struct TraceStatistics {
  std::uint64_t rows = 0;
  std::uint64_t selections = 0;
  std::uint64_t iterations = 0;
  std::int64_t first_iteration = 0;
  std::int64_t last_iteration = 0;
  std::uint64_t micro_batches = 0;
  std::uint64_t source_ranks = 0;  // 0: summed over ranks
  int experts = 0;
  StepStatistics mean;  // over iterations; but entropy_min is the smallest, and selections and zero counts are totals
  std::vector<StepStatistics> steps;
  std::int64_t step_stride = 1;  // `steps` holds every step_stride-th recorded iteration
  std::vector<LayerStatistics> layers;
  std::vector<LagStatistics> lags;
  MeanOf rank_cv;
  MeanOf rank_cv_settled;
  std::int64_t settled_from = 0;
  std::vector<DeviceBalance> devices;
};

class StatisticsSink : public RowSink {
 public:
  explicit StatisticsSink(StatisticsOptions options = {});
  [[nodiscard]] Status counts(const CountRow& row) override;
  [[nodiscard]] Status token(const TokenRow& row) override;
  // Rows of an iteration that came after it had to be closed for want of memory are counted in `findings`.
  [[nodiscard]] TraceStatistics finish(Findings& findings) &&;

 private:
  using Counts = std::vector<std::uint64_t>;
  struct OpenStep {
    std::map<std::pair<std::int32_t, std::int32_t>, Counts> by_layer_and_rank;
    std::map<std::int32_t, Counts> totals;  // by layer; made when the step is first compared
    bool totalled = false;
  };
  struct LayerSums {
    MeanOf max_over_mean;
    MeanOf entropy;
  };

  void retire_first();
  void total(OpenStep& step) const;
  void add_step(std::int64_t iteration, const OpenStep& step);
  void add_devices(const OpenStep& step);
  void add_lags(std::int64_t iteration, const OpenStep& step);
  void add_rank_cv(std::int64_t iteration, const OpenStep& step);
  void keep_in_table(const StepStatistics& step);

  StatisticsOptions options_;
  TraceStatistics result_;
  std::map<std::int64_t, OpenStep> open_;
  OpenStep* last_step_ = nullptr;
  std::int64_t last_iteration_ = 0;
  std::uint64_t open_bytes_ = 0;
  std::optional<std::int64_t> retired_up_to_;
  std::uint64_t late_rows_ = 0;
  std::uint64_t retired_steps_ = 0;
  OpenStep first_;  // kept for traces of one step
  std::set<std::int32_t> micro_batches_;
  std::set<std::int32_t> ranks_;
  std::map<std::int32_t, LayerSums> layers_;
};

}  // namespace moesim
