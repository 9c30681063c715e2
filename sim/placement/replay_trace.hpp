// A recording as a replay of placements reads it: counts[step][layer][micro-batch][source device][expert], sources being the
// devices of one EP group.
//
// Taken over as recorded where the sources and tokens agree, else mapped by the rules of traces/remap.hpp, step by step. Memory:
// 4 bytes a count.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "sim/placement/counts.hpp"
#include "traces/selection_trace.hpp"
#include "traces/token_sample.hpp"

namespace moesim {

struct ReplayTraceRequest {
  int devices = 0;                     // of the EP group
  int moe_layers = 0;                  // 0: as recorded
  std::int64_t top_k = 0;              // experts of a token
  std::int64_t tokens_per_device = 0;  // of one micro-batch; 0: what the recording has, shared by the devices
  int micro_batches = 0;               // 0: as recorded
};

class ReplayTrace {
 public:
  [[nodiscard]] static Result<ReplayTrace> map(const SelectionTrace& trace, const ReplayTraceRequest& request);

  [[nodiscard]] int steps() const { return static_cast<int>(iterations_.size()); }
  [[nodiscard]] int layers() const { return layers_; }
  [[nodiscard]] int micro_batches() const { return micro_batches_; }
  [[nodiscard]] int devices() const { return devices_; }
  [[nodiscard]] int experts() const { return experts_; }
  [[nodiscard]] std::int64_t tokens_per_device() const { return tokens_per_device_; }
  [[nodiscard]] const std::vector<std::int64_t>& iterations() const { return iterations_; }  // label of a step
  // Iterations that a recorded step stands for: up to the next record; the last as many as the one before it.
  [[nodiscard]] double weight(int step) const { return weights_[static_cast<std::size_t>(step)]; }
  [[nodiscard]] RecordedCounts counts(int step, int layer, int micro_batch) const;
  // Token rows of the same recording, whose layers and sources are mapped as the counts are: a model's layer takes a recorded one, tokens of a
  // rank are shared by the devices that stand for it. To be given before a replay looks at which experts tokens chose together.
  void attach(const SelectionTrace& trace, const TokenSample& tokens);
  // nullptr where there are none.
  [[nodiscard]] const TokenSet* tokens(int step, int layer) const;
  // What mapping changed, for people.
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }

 private:
  [[nodiscard]] double bytes() const;
  [[nodiscard]] std::size_t offset(int step, int layer, int micro_batch) const;
  void take_over(const SelectionTrace& trace);
  [[nodiscard]] Status map_steps(const SelectionTrace& trace, std::int64_t top_k);
  void weigh_steps();

  int layers_ = 0;
  int micro_batches_ = 0;
  int devices_ = 0;
  int experts_ = 0;
  std::int64_t tokens_per_device_ = 0;
  std::vector<std::int64_t> iterations_;
  std::vector<double> weights_;
  std::vector<std::int32_t> counts_;
  std::vector<TokenSet> tokens_;  // [step][recorded layer]; empty: none
  int recorded_layers_ = 0;
  std::vector<std::string> notes_;
};

}  // namespace moesim
