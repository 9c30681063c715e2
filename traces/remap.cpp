#include "traces/remap.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "traces/proportional.hpp"

namespace moesim {
namespace {

constexpr std::uint64_t kMostCells = 1ULL << 31;

Status check_request(const LoadRequest& r) {
  const auto problem = [](std::string what) { return invalid_input(std::move(what), "expert loads"); };
  if (r.moe_layers < 1 || r.source_ranks < 1 || r.micro_batches < 1 || r.experts < 1)
    return problem("MoE layers, source ranks, micro-batches and experts must be positive");
  if (r.top_k < 1 || r.top_k > r.experts)
    return problem(fmt::format("top_k {} is not between 1 and the {} experts", r.top_k, r.experts));
  if (r.tokens_per_source < 0 || r.tokens_per_source > INT32_MAX / r.top_k)
    return problem(fmt::format("{} tokens per source and micro-batch are out of range", r.tokens_per_source));
  const double cells = static_cast<double>(r.moe_layers) * r.micro_batches * r.source_ranks * r.experts;
  if (cells > static_cast<double>(kMostCells))
    return invalid_input("expert loads would need more than 8 GiB", "expert loads",
                         "ask for fewer distinct micro-batches or sources and use them in turn");
  return {};
}

ExpertLoads empty_loads(const LoadRequest& r) {
  ExpertLoads loads;
  loads.moe_layers = r.moe_layers;
  loads.micro_batches = r.micro_batches;
  loads.source_ranks = r.source_ranks;
  loads.experts = r.experts;
  loads.counts.resize(static_cast<std::size_t>(r.moe_layers) * static_cast<std::size_t>(r.micro_batches) *
                      static_cast<std::size_t>(r.source_ranks) * static_cast<std::size_t>(r.experts));
  return loads;
}

// The recorded items [first, last) that item i of `wanted` sums up, when there are at least as many recorded ones.
struct Group {
  int first = 0;
  int last = 0;
};
Group group_of(int i, int wanted, int recorded) {
  return {static_cast<int>(std::int64_t{i} * recorded / wanted),
          static_cast<int>((std::int64_t{i} + 1) * recorded / wanted)};
}

int trace_layer_of(int moe_layer, int moe_layers, int trace_layers) {
  return static_cast<int>(std::int64_t{moe_layer} * trace_layers / moe_layers);
}

std::size_t row_offset(const ExpertLoads& loads, int moe_layer, int micro_batch, int source) {
  MOESIM_ASSERT(moe_layer >= 0 && moe_layer < loads.moe_layers && micro_batch >= 0 &&
                micro_batch < loads.micro_batches && source >= 0 && source < loads.source_ranks);
  const auto row = (static_cast<std::size_t>(moe_layer) * static_cast<std::size_t>(loads.micro_batches) +
                    static_cast<std::size_t>(micro_batch)) *
                       static_cast<std::size_t>(loads.source_ranks) +
                   static_cast<std::size_t>(source);
  return row * static_cast<std::size_t>(loads.experts);
}

}  // namespace

std::span<const std::int32_t> ExpertLoads::row(int moe_layer, int micro_batch, int source) const {
  return {counts.data() + row_offset(*this, moe_layer, micro_batch, source), static_cast<std::size_t>(experts)};
}

std::span<std::int32_t> ExpertLoads::row(int moe_layer, int micro_batch, int source) {
  return {counts.data() + row_offset(*this, moe_layer, micro_batch, source), static_cast<std::size_t>(experts)};
}

Result<LoadMapper> LoadMapper::create(const SelectionTrace& trace, int step) {
  LoadMapper mapper;
  mapper.dims_ = trace.dims();
  mapper.info_ = trace.info;
  mapper.summed_ = trace.summed_over_ranks();
  mapper.step_ = step;
  const TraceDims& d = mapper.dims_;
  if (step < -1 || step >= d.steps)
    return usage_error(fmt::format("step {} is not in the trace, which has {} steps", step, d.steps),
                       "steps are counted from 0; -1 takes all of them together");
  if (d.layers == 0 || d.experts == 0) return invalid_input("the trace is empty", trace.info.source);
  const auto experts = static_cast<std::size_t>(d.experts);
  const auto rows = static_cast<std::size_t>(d.rows()) / static_cast<std::size_t>(d.steps);
  mapper.weights_.assign(rows * experts, 0);
  mapper.pooled_.assign(static_cast<std::size_t>(d.layers) * experts, 0);
  for (int s = step < 0 ? 0 : step; s < (step < 0 ? d.steps : step + 1); ++s) {
    std::uint64_t* target = mapper.weights_.data();
    for (int l = 0; l < d.layers; ++l)
      for (int m = 0; m < d.micro_batches; ++m)
        for (int r = 0; r < d.source_ranks; ++r, target += experts) {
          const auto row = trace.counts(s, l, m, r);
          for (std::size_t e = 0; e < experts; ++e) target[e] += row[e];
        }
  }
  const std::size_t rows_per_layer = rows / static_cast<std::size_t>(d.layers);
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t e = 0; e < experts; ++e)
      mapper.pooled_[row / rows_per_layer * experts + e] += mapper.weights_[row * experts + e];
  for (std::size_t l = 0; l < static_cast<std::size_t>(d.layers); ++l) {
    const auto* const pool = mapper.pooled_.data() + l * experts;
    if (std::all_of(pool, pool + experts, [](std::uint64_t c) { return c == 0; }))
      return invalid_input(fmt::format("layer {} has no selections in {}", trace.layers()[l],
                                       step < 0 ? "any step" : fmt::format("step {}", step)),
                           trace.info.source, "take another step");
  }
  return mapper;
}

std::span<const std::uint64_t> LoadMapper::weights(int layer, int micro_batch, int rank) const {
  const auto row = (static_cast<std::size_t>(layer) * static_cast<std::size_t>(dims_.micro_batches) +
                    static_cast<std::size_t>(micro_batch)) *
                       static_cast<std::size_t>(dims_.source_ranks) +
                   static_cast<std::size_t>(rank);
  return {weights_.data() + row * static_cast<std::size_t>(dims_.experts), static_cast<std::size_t>(dims_.experts)};
}

Status LoadMapper::check(const LoadRequest& request) const {
  MOESIM_TRY(check_request(request));
  if (request.experts != dims_.experts)
    return invalid_input(
        fmt::format("the trace has {} experts per layer, the model {}", dims_.experts, request.experts), info_.source,
        "a trace cannot be turned into one for other experts: use one of a model with as many, or "
        "generate one (trace synth)");
  return {};
}

std::vector<std::string> LoadMapper::notes_for(const LoadRequest& r) const {
  std::vector<std::string> notes;
  const auto note = [&notes](std::string text) { notes.push_back(std::move(text)); };
  if (info_.phase == TracePhase::kInference) note("the trace was recorded during inference");
  if (info_.drops == TraceDrops::kAfter)
    note("the trace was recorded after drops; every row is scaled up to all tokens");
  if (step_ < 0 && dims_.steps > 1)
    note(fmt::format("proportions are those of all {} recorded steps together", dims_.steps));
  if (r.moe_layers != dims_.layers)
    note(fmt::format("MoE layer i of {} takes trace layer floor(i * {} / {})", r.moe_layers, dims_.layers,
                     r.moe_layers));
  if (info_.top_k == 0)
    note(fmt::format("the trace does not state its top_k; its proportions are used for top-{}", r.top_k));
  else if (info_.top_k != r.top_k)
    note(fmt::format("the trace is of a top-{} gate; its proportions are used for top-{}", info_.top_k, r.top_k));
  if (info_.tokens_per_rank_per_microbatch > 0 && info_.tokens_per_rank_per_microbatch != r.tokens_per_source)
    note(
        fmt::format("rows are scaled from {} to {} tokens", info_.tokens_per_rank_per_microbatch, r.tokens_per_source));
  if (summed_)
    note("the trace has no source ranks: selections are split evenly over them, so traffic per link is synthetic");
  else if (r.source_ranks < dims_.source_ranks)
    note(fmt::format("{} recorded source ranks are summed into {}", dims_.source_ranks, r.source_ranks));
  else if (r.source_ranks > dims_.source_ranks)
    note(fmt::format("{} recorded source ranks are used again for {}", dims_.source_ranks, r.source_ranks));
  if (r.micro_batches < dims_.micro_batches)
    note(fmt::format("{} recorded micro-batches are summed into {}", dims_.micro_batches, r.micro_batches));
  else if (r.micro_batches > dims_.micro_batches && dims_.micro_batches > 1)
    note(fmt::format("{} recorded micro-batches are used in turn for {}", dims_.micro_batches, r.micro_batches));
  return notes;
}

void LoadMapper::gather(const LoadRequest& request, int layer, int micro_batch, int source,
                        std::vector<std::uint64_t>& row) const {
  Group ranks{0, 1};
  int round = 0;  // how often the recorded ranks have been used up
  if (!summed_) {
    if (request.source_ranks <= dims_.source_ranks) {
      ranks = group_of(source, request.source_ranks, dims_.source_ranks);
    } else {
      round = source / dims_.source_ranks;
      ranks = {source % dims_.source_ranks, source % dims_.source_ranks + 1};
    }
  }
  Group batches;
  if (request.micro_batches <= dims_.micro_batches) {
    const int shifted = (micro_batch + round) % request.micro_batches;
    batches = group_of(shifted, request.micro_batches, dims_.micro_batches);
  } else {
    const int one = (micro_batch + round) % dims_.micro_batches;
    batches = {one, one + 1};
  }
  std::fill(row.begin(), row.end(), 0);
  for (int m = batches.first; m < batches.last; ++m)
    for (int r = ranks.first; r < ranks.last; ++r) {
      const auto recorded = weights(layer, m, r);
      for (std::size_t e = 0; e < row.size(); ++e) row[e] += recorded[e];
    }
}

Result<ExpertLoads> LoadMapper::loads(const LoadRequest& request) const {
  MOESIM_TRY(check(request));
  ExpertLoads loads = empty_loads(request);
  loads.source_symmetric = summed_ || info_.source_symmetric;
  loads.synthetic = info_.origin != TraceOrigin::kRecorded;
  loads.notes = notes_for(request);
  const auto experts = static_cast<std::size_t>(dims_.experts);
  const std::int64_t target = request.tokens_per_source * request.top_k;
  ProportionalRounder rounder;
  std::vector<std::uint64_t> row(experts);
  std::vector<std::int64_t> carry;
  std::int64_t empty_rows = 0;
  std::int64_t spread_rows = 0;
  for (int l = 0; l < request.moe_layers; ++l) {
    const int layer = trace_layer_of(l, request.moe_layers, dims_.layers);
    for (int m = 0; m < request.micro_batches; ++m) {
      carry.assign(summed_ ? experts : 0, 0);
      for (int s = 0; s < request.source_ranks; ++s) {
        if (!summed_ || s == 0) gather(request, layer, m, s, row);
        if (std::all_of(row.begin(), row.end(), [](std::uint64_t c) { return c == 0; })) {
          ++empty_rows;
          const auto* const pool = pooled_.data() + static_cast<std::size_t>(layer) * experts;
          std::copy_n(pool, experts, row.begin());
        }
        spread_rows += rounder.round(row, target, request.tokens_per_source, carry, loads.row(l, m, s)) ? 1 : 0;
      }
    }
  }
  if (empty_rows > 0)
    loads.notes.push_back(fmt::format("{} rows are missing in the trace and take their layer's average", empty_rows));
  if (spread_rows > 0)
    loads.notes.push_back(fmt::format("{} rows chose fewer than {} distinct experts; the rest is spread evenly",
                                      spread_rows, request.top_k));
  return loads;
}

Result<ExpertLoads> map_loads(const SelectionTrace& trace, const LoadRequest& request) {
  MOESIM_ASSIGN(const LoadMapper mapper, LoadMapper::create(trace, request.step));
  return mapper.loads(request);
}

Result<ExpertLoads> balanced_loads(const LoadRequest& request) {
  MOESIM_TRY(check_request(request));
  ExpertLoads loads = empty_loads(request);
  loads.source_symmetric = true;
  loads.synthetic = true;
  loads.notes.emplace_back("routing is assumed perfectly balanced");
  const std::int64_t target = request.tokens_per_source * request.top_k;
  const std::int64_t experts = request.experts;
  const std::int64_t extra = target % experts;
  std::int64_t turn = 0;  // the first expert of this row that gets one more
  for (int l = 0; l < request.moe_layers; ++l)
    for (int m = 0; m < request.micro_batches; ++m)
      for (int s = 0; s < request.source_ranks; ++s) {
        const auto row = loads.row(l, m, s);
        std::fill(row.begin(), row.end(), static_cast<std::int32_t>(target / experts));
        for (std::int64_t i = 0; i < extra; ++i) ++row[static_cast<std::size_t>((turn + i) % experts)];
        turn = (turn + extra) % experts;
      }
  return loads;
}

}  // namespace moesim
