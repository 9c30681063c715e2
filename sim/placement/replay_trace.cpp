#include "sim/placement/replay_trace.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "traces/remap.hpp"

namespace moesim {
namespace {

constexpr double kMostBytes = 8.0 * 1024 * 1024 * 1024;

// Tokens of all sources in one micro-batch of the recording, by its fullest row of the first step.
std::int64_t recorded_tokens(const SelectionTrace& trace, std::int64_t top_k) {
  const TraceDims dims = trace.dims();
  std::int64_t most = 0;
  for (int layer = 0; layer < dims.layers; ++layer)
    for (int micro_batch = 0; micro_batch < dims.micro_batches; ++micro_batch) {
      std::int64_t sum = 0;
      for (int rank = 0; rank < dims.source_ranks; ++rank)
        for (const std::uint32_t count : trace.counts(0, layer, micro_batch, rank)) sum += count;
      most = std::max(most, sum);
    }
  return most / top_k;
}

bool rows_are_full(const SelectionTrace& trace, std::int64_t selections) {
  const TraceDims dims = trace.dims();
  for (int step = 0; step < dims.steps; ++step)
    for (int layer = 0; layer < dims.layers; ++layer)
      for (int micro_batch = 0; micro_batch < dims.micro_batches; ++micro_batch)
        for (int rank = 0; rank < dims.source_ranks; ++rank) {
          std::int64_t sum = 0;
          for (const std::uint32_t count : trace.counts(step, layer, micro_batch, rank)) sum += count;
          if (sum != selections) return false;
        }
  return true;
}

}  // namespace

// As a floating-point number: it may be anything.
double ReplayTrace::bytes() const {
  return sizeof(std::int32_t) * static_cast<double>(steps()) * layers_ * micro_batches_ * devices_ * experts_;
}

std::size_t ReplayTrace::offset(int step, int layer, int micro_batch) const {
  return ((static_cast<std::size_t>(step) * static_cast<std::size_t>(layers_) + static_cast<std::size_t>(layer)) *
              static_cast<std::size_t>(micro_batches_) +
          static_cast<std::size_t>(micro_batch)) *
         static_cast<std::size_t>(devices_) * static_cast<std::size_t>(experts_);
}

RecordedCounts ReplayTrace::counts(int step, int layer, int micro_batch) const {
  const auto cells = static_cast<std::size_t>(devices_) * static_cast<std::size_t>(experts_);
  return {std::span<const std::int32_t>(counts_).subspan(offset(step, layer, micro_batch), cells), devices_, experts_};
}

void ReplayTrace::take_over(const SelectionTrace& trace) {
  for (int step = 0; step < steps(); ++step)
    for (int layer = 0; layer < layers_; ++layer)
      for (int micro_batch = 0; micro_batch < micro_batches_; ++micro_batch) {
        auto cell = counts_.begin() + static_cast<std::ptrdiff_t>(offset(step, layer, micro_batch));
        for (int rank = 0; rank < devices_; ++rank)
          cell = std::copy(trace.counts(step, layer, micro_batch, rank).begin(),
                           trace.counts(step, layer, micro_batch, rank).end(), cell);
      }
}

Status ReplayTrace::map_steps(const SelectionTrace& trace, std::int64_t top_k) {
  LoadRequest request;
  request.moe_layers = layers_;
  request.experts = experts_;
  request.top_k = static_cast<int>(top_k);
  request.tokens_per_source = tokens_per_device_;
  request.source_ranks = devices_;
  request.micro_batches = micro_batches_;
  for (int step = 0; step < steps(); ++step) {
    MOESIM_ASSIGN(const LoadMapper mapper, LoadMapper::create(trace, step));
    MOESIM_ASSIGN(const ExpertLoads loads, mapper.loads(request));
    std::copy(loads.counts.begin(), loads.counts.end(),
              counts_.begin() + static_cast<std::ptrdiff_t>(offset(step, 0, 0)));
    if (step == 0) notes_ = loads.notes;
  }
  return {};
}

void ReplayTrace::weigh_steps() {
  weights_.assign(iterations_.size(), 1.0);
  for (std::size_t i = 0; i + 1 < iterations_.size(); ++i)
    weights_[i] = static_cast<double>(iterations_[i + 1] - iterations_[i]);
  if (weights_.size() > 1) weights_.back() = weights_[weights_.size() - 2];
}

// Of R ranks the tokens of rank r go in turn to the devices from floor(r * devices / R) on, at least to one; of no rank to all.
void ReplayTrace::attach(const SelectionTrace& trace, const TokenSample& tokens) {
  tokens_.clear();
  if (tokens.empty()) return;
  recorded_layers_ = trace.dims().layers;
  const std::vector<std::int32_t>& ranks = trace.source_ranks();
  const auto count = static_cast<std::int64_t>(ranks.size());
  for (const std::int64_t iteration : iterations_)
    for (const std::int32_t layer : trace.layers()) {
      TokenSet set = tokens.of(iteration, layer);
      for (std::size_t token = 0; token < set.size(); ++token) {
        std::int32_t& source = set.sources[token];
        const auto found = std::lower_bound(ranks.begin(), ranks.end(), source);
        const std::int64_t place = found == ranks.end() ? 0 : found - ranks.begin();
        const std::int64_t first = place * devices_ / count;
        const std::int64_t devices = std::max<std::int64_t>(1, (place + 1) * devices_ / count - first);
        source = static_cast<std::int32_t>(first + static_cast<std::int64_t>(token) % devices);
      }
      tokens_.push_back(std::move(set));
    }
}

const TokenSet* ReplayTrace::tokens(int step, int layer) const {
  if (tokens_.empty()) return nullptr;
  const auto recorded = static_cast<std::size_t>(std::int64_t{layer} * recorded_layers_ / layers_);
  return &tokens_[static_cast<std::size_t>(step) * static_cast<std::size_t>(recorded_layers_) + recorded];
}

Result<ReplayTrace> ReplayTrace::map(const SelectionTrace& trace, const ReplayTraceRequest& request) {
  const TraceDims dims = trace.dims();
  if (dims.steps < 2)
    return invalid_input(fmt::format("a replay needs at least two recorded steps, there is {}", dims.steps),
                         trace.info.source, "record more steps, or ask moesim layer about a single one");
  if (request.devices < 1 || request.top_k < 1)
    return invalid_input("devices and top-k must be positive", "replay trace");
  ReplayTrace result;
  result.iterations_ = trace.iterations();
  result.layers_ = request.moe_layers > 0 ? request.moe_layers : dims.layers;
  result.micro_batches_ = request.micro_batches > 0 ? request.micro_batches : dims.micro_batches;
  result.devices_ = request.devices;
  result.experts_ = dims.experts;
  result.tokens_per_device_ = request.tokens_per_device > 0 ? request.tokens_per_device
                                                            : recorded_tokens(trace, request.top_k) / request.devices;
  if (result.tokens_per_device_ < 1)
    return invalid_input(fmt::format("the recording has fewer tokens than the {} devices", request.devices),
                         trace.info.source, "say how many with --batch and --seq");
  if (result.bytes() > kMostBytes)
    return invalid_input("the counts of the replay would need more than 8 GiB", trace.info.source,
                         "ask about fewer devices or micro-batches, or replay a part of the recording");
  result.weigh_steps();
  result.counts_.resize(result.offset(result.steps(), 0, 0));
  // Larger counts than these are for map_steps() to refuse.
  const bool as_recorded = result.tokens_per_device_ <= INT32_MAX / request.top_k && result.layers_ == dims.layers &&
                           result.micro_batches_ == dims.micro_batches && result.devices_ == dims.source_ranks &&
                           !trace.summed_over_ranks() &&
                           rows_are_full(trace, result.tokens_per_device_ * request.top_k);
  if (as_recorded)
    result.take_over(trace);
  else
    MOESIM_TRY(result.map_steps(trace, request.top_k));
  return result;
}

}  // namespace moesim
