// What did the gate choose? counts[step][layer][micro_batch][source_rank][expert], all of it in memory.
//
// A count is a number of selections (token copies after top-k), not of tokens: a row over experts sums to
// tokens * top_k where nothing was dropped. Steps are recorded iterations (not necessarily consecutive ones), layers
// are the MoE layers of the trace in ascending order of their label. Memory: 4 bytes a cell; the SmartMoE artifact's
// 501 x 24 x 4 x 16 x 32 = 24.6 M cells take 98 MB.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "traces/findings.hpp"
#include "traces/rows.hpp"
#include "traces/trace_info.hpp"

namespace moesim {

struct TraceDims {
  int steps = 0;
  int layers = 0;
  int micro_batches = 0;
  int source_ranks = 0;  // 1 when the trace is summed over ranks
  int experts = 0;
  bool operator==(const TraceDims&) const = default;
  [[nodiscard]] std::uint64_t rows() const;
  [[nodiscard]] std::uint64_t cells() const;
};

class SelectionTrace {
 public:
  SelectionTrace() = default;
  // Zero-filled; the labels give the dimensions, each ascending. source_ranks is {kSummedOverRanks} for summed traces.
  SelectionTrace(std::vector<std::int64_t> iterations, std::vector<std::int32_t> layers,
                 std::vector<std::int32_t> micro_batches, std::vector<std::int32_t> source_ranks, int experts);

  [[nodiscard]] TraceDims dims() const;
  [[nodiscard]] const std::vector<std::int64_t>& iterations() const { return iterations_; }  // label of a step
  [[nodiscard]] const std::vector<std::int32_t>& layers() const { return layers_; }          // model layer
  [[nodiscard]] const std::vector<std::int32_t>& micro_batches() const { return micro_batches_; }
  [[nodiscard]] const std::vector<std::int32_t>& source_ranks() const { return source_ranks_; }
  [[nodiscard]] int experts() const { return experts_; }
  [[nodiscard]] bool summed_over_ranks() const {
    return source_ranks_.size() == 1 && source_ranks_.front() == kSummedOverRanks;
  }

  // Indices, not labels. A row that the recording lacks is all zero.
  [[nodiscard]] std::span<const std::uint32_t> counts(int step, int layer, int micro_batch, int source_rank) const;
  [[nodiscard]] std::span<std::uint32_t> counts(int step, int layer, int micro_batch, int source_rank);

  TraceInfo info;

 private:
  [[nodiscard]] std::size_t offset(int step, int layer, int micro_batch, int source_rank) const;

  std::vector<std::int64_t> iterations_;
  std::vector<std::int32_t> layers_;
  std::vector<std::int32_t> micro_batches_;
  std::vector<std::int32_t> source_ranks_;
  int experts_ = 0;
  std::vector<std::uint32_t> counts_;
};

// Collects rows in any order into a SelectionTrace.
class TraceBuilder : public RowSink {
 public:
  explicit TraceBuilder(std::uint64_t limit_bytes) : limit_bytes_(limit_bytes) {}
  [[nodiscard]] Status counts(const CountRow& row) override;
  [[nodiscard]] Status token(const TokenRow& row) override;

  // Layers whose rows are all zero are dense and left out; missing rows are counted in `findings`.
  [[nodiscard]] Result<SelectionTrace> finish(TraceInfo info, Findings& findings) &&;

 private:
  std::uint64_t limit_bytes_;
  std::size_t experts_ = 0;
  std::vector<RowKey> keys_;
  std::vector<std::uint32_t> counts_;
};

}  // namespace moesim
