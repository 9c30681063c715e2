#include "traces/selection_trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace moesim {
namespace {

template <class T>
std::vector<T> sorted_unique(std::vector<T> values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

template <class T>
int index_of(const std::vector<T>& sorted, T value) {
  return static_cast<int>(std::lower_bound(sorted.begin(), sorted.end(), value) - sorted.begin());
}

tl::unexpected<Error> too_large(std::uint64_t bytes, std::uint64_t limit) {
  return invalid_input(
      fmt::format("the trace needs {} MiB of counts, more than the limit of {} MiB", bytes >> 20, limit >> 20), {},
      "cut it to fewer iterations or layers, or sum it over source ranks (trace convert)");
}

}  // namespace

std::uint64_t TraceDims::rows() const {
  return static_cast<std::uint64_t>(steps) * static_cast<std::uint64_t>(layers) *
         static_cast<std::uint64_t>(micro_batches) * static_cast<std::uint64_t>(source_ranks);
}

std::uint64_t TraceDims::cells() const { return rows() * static_cast<std::uint64_t>(experts); }

SelectionTrace::SelectionTrace(std::vector<std::int64_t> iterations, std::vector<std::int32_t> layers,
                               std::vector<std::int32_t> micro_batches, std::vector<std::int32_t> source_ranks,
                               int experts)
    : iterations_(std::move(iterations)),
      layers_(std::move(layers)),
      micro_batches_(std::move(micro_batches)),
      source_ranks_(std::move(source_ranks)),
      experts_(experts) {
  counts_.resize(dims().cells());
}

TraceDims SelectionTrace::dims() const {
  return {static_cast<int>(iterations_.size()), static_cast<int>(layers_.size()),
          static_cast<int>(micro_batches_.size()), static_cast<int>(source_ranks_.size()), experts_};
}

std::size_t SelectionTrace::offset(int step, int layer, int micro_batch, int source_rank) const {
  const TraceDims d = dims();
  MOESIM_ASSERT(step >= 0 && step < d.steps && layer >= 0 && layer < d.layers);
  MOESIM_ASSERT(micro_batch >= 0 && micro_batch < d.micro_batches && source_rank >= 0 && source_rank < d.source_ranks);
  std::size_t row = static_cast<std::size_t>(step);
  row = row * layers_.size() + static_cast<std::size_t>(layer);
  row = row * micro_batches_.size() + static_cast<std::size_t>(micro_batch);
  row = row * source_ranks_.size() + static_cast<std::size_t>(source_rank);
  return row * static_cast<std::size_t>(experts_);
}

std::span<const std::uint32_t> SelectionTrace::counts(int step, int layer, int micro_batch, int source_rank) const {
  return {counts_.data() + offset(step, layer, micro_batch, source_rank), static_cast<std::size_t>(experts_)};
}

std::span<std::uint32_t> SelectionTrace::counts(int step, int layer, int micro_batch, int source_rank) {
  return {counts_.data() + offset(step, layer, micro_batch, source_rank), static_cast<std::size_t>(experts_)};
}

Status TraceBuilder::counts(const CountRow& row) {
  if (experts_ == 0) experts_ = row.counts.size();
  MOESIM_ASSERT(row.counts.size() == experts_);  // the inspector lets no other row pass
  const std::uint64_t bytes = (counts_.size() + experts_) * sizeof(std::uint32_t) + keys_.size() * sizeof(RowKey);
  if (bytes > limit_bytes_) return too_large(bytes, limit_bytes_);
  keys_.push_back(row.key);
  counts_.insert(counts_.end(), row.counts.begin(), row.counts.end());
  return {};
}

Status TraceBuilder::token(const TokenRow& /*row*/) { MOESIM_ASSERT(false); }

Result<SelectionTrace> TraceBuilder::finish(TraceInfo info, Findings& findings) && {
  std::set<std::int32_t> busy_layers;
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    const auto* const row = counts_.data() + i * experts_;
    if (std::any_of(row, row + experts_, [](std::uint32_t c) { return c != 0; })) busy_layers.insert(keys_[i].layer);
  }
  std::vector<std::int64_t> iterations;
  std::vector<std::int32_t> micro_batches, ranks;
  for (const RowKey& key : keys_) {
    iterations.push_back(key.iteration);
    micro_batches.push_back(key.micro_batch);
    ranks.push_back(key.source_rank);
  }
  iterations = sorted_unique(std::move(iterations));
  micro_batches = sorted_unique(std::move(micro_batches));
  ranks = sorted_unique(std::move(ranks));
  const TraceDims dims{static_cast<int>(iterations.size()), static_cast<int>(busy_layers.size()),
                       static_cast<int>(micro_batches.size()), static_cast<int>(ranks.size()),
                       static_cast<int>(experts_)};
  // Rows that name far-apart labels would make a huge grid of holes. Checked factor by factor: no overflow.
  const double bytes = static_cast<double>(dims.steps) * dims.layers * dims.micro_batches * dims.source_ranks *
                       dims.experts * static_cast<double>(sizeof(std::uint32_t));
  if (bytes > static_cast<double>(limit_bytes_))
    return too_large(static_cast<std::uint64_t>(std::min(bytes, 1e18)), limit_bytes_);

  SelectionTrace trace(std::move(iterations), {busy_layers.begin(), busy_layers.end()}, std::move(micro_batches),
                       std::move(ranks), dims.experts);
  trace.info = std::move(info);
  std::uint64_t placed = 0;
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    const RowKey& key = keys_[i];
    if (!busy_layers.contains(key.layer)) continue;
    const auto target =
        trace.counts(index_of(trace.iterations(), key.iteration), index_of(trace.layers(), key.layer),
                     index_of(trace.micro_batches(), key.micro_batch), index_of(trace.source_ranks(), key.source_rank));
    std::copy_n(counts_.data() + i * experts_, experts_, target.data());
    ++placed;
  }
  if (placed < dims.rows())
    findings.add(Severity::kDataLoss, "missing-rows",
                 fmt::format("the trace is not a full grid of iterations, layers, micro-batches and ranks: {} of {} "
                             "rows are missing and count as empty",
                             dims.rows() - placed, dims.rows()),
                 {}, dims.rows() - placed);
  return trace;
}

}  // namespace moesim
