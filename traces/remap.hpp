// From what was recorded to what a plan needs: other source ranks, batch sizes and layers, deterministically.
//
// Every row of the result sums to exactly tokens * top_k, and no expert has more than `tokens` selections (a token
// chooses an expert at most once). Proportions are kept by largest remainder (proportional.hpp). The rules:
//   step          one recorded step, or the sum over all of them (-1)
//   MoE layers    model MoE layer i takes trace layer floor(i * trace_layers / moe_layers)
//   source ranks  fewer than recorded: neighbouring ranks are summed; more: recorded rows are used again, source s taking
//                 rank s mod R and, each time round, the next micro-batch; none recorded: the sum is split evenly, with
//                 rounding carried from one source to the next (the result is source-symmetric)
//   micro-batches fewer than recorded: neighbours are summed; more: used again in turn
//   experts       must be those of the trace: which expert is hot cannot be invented
// Whatever of this changed the recording is said in `notes`.
// Worked: experts 2, a row {3, 1} of 4 selections mapped to 6 tokens top-1 gives quotas {4.5, 1.5} -> {5, 1}.
//
// Speed: 58 layers x 4 micro-batches x 64 sources x 256 experts in about 60 ms on one core.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "traces/selection_trace.hpp"

namespace moesim {

struct LoadRequest {
  int moe_layers = 0;
  int experts = 0;
  int top_k = 0;
  std::int64_t tokens_per_source = 0;  // of one source rank in one micro-batch
  int source_ranks = 0;
  int micro_batches = 1;
  int step = -1;  // index of a recorded step; -1: all of them together
};

struct ExpertLoads {
  int moe_layers = 0;
  int micro_batches = 0;
  int source_ranks = 0;
  int experts = 0;
  bool source_symmetric = false;     // how selections differ between sources is made up
  bool synthetic = false;            // generated, rewritten or balanced, not recorded
  std::vector<std::string> notes;    // what re-mapping changed, for people
  std::vector<std::int32_t> counts;  // [moe_layer][micro_batch][source][expert]

  [[nodiscard]] std::span<const std::int32_t> row(int moe_layer, int micro_batch, int source) const;
  [[nodiscard]] std::span<std::int32_t> row(int moe_layer, int micro_batch, int source);
};

// Maps one trace to many requests; the choice of the step is made once.
class LoadMapper {
 public:
  // `step` as in LoadRequest. Copies what it needs: the trace may go.
  [[nodiscard]] static Result<LoadMapper> create(const SelectionTrace& trace, int step);
  // `request.step` is ignored.
  [[nodiscard]] Result<ExpertLoads> loads(const LoadRequest& request) const;

 private:
  [[nodiscard]] std::span<const std::uint64_t> weights(int layer, int micro_batch, int rank) const;
  [[nodiscard]] Status check(const LoadRequest& request) const;
  [[nodiscard]] std::vector<std::string> notes_for(const LoadRequest& request) const;
  void gather(const LoadRequest& request, int layer, int micro_batch, int source,
              std::vector<std::uint64_t>& row) const;

  TraceDims dims_;
  TraceInfo info_;
  bool summed_ = false;
  int step_ = -1;
  std::vector<std::uint64_t> weights_;  // [layer][micro_batch][rank][expert]
  std::vector<std::uint64_t> pooled_;   // [layer][expert], for rows the recording lacks
};

[[nodiscard]] Result<ExpertLoads> map_loads(const SelectionTrace& trace, const LoadRequest& request);

// Every expert equally often, as near as whole numbers allow: remainders rotate over experts from row to row.
[[nodiscard]] Result<ExpertLoads> balanced_loads(const LoadRequest& request);

}  // namespace moesim
