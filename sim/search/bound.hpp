// The `bound` regime: a closed form for the step time that is never above the replay, and a lower bound of the memory.
//
// For a stage with virtual stages c, m_c micro-batches each, layer spans F, B (layer_table.hpp):
//   step >= in + sum_c m_c (F_c + B_c) + out + grad norm + optimizer
// where `in` is the least time before the stage's first forward pass can start (the forward passes of the virtual stages
// before it) and `out` what the last gradient it sends still has to pass. Gradient reductions can start with the last
// backward pass, ZeRO's parameter gathers delay the first forward pass; both count with what they stand out.
// Worked: 4 equal stages, 8 micro-batches, F = 1, B = 2, nothing else: stage 3: 3*1 + 8*3 + 3*2 = 33 = (8 + 3) * 3.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "sim/pipeline/compiled_pipeline.hpp"
#include "sim/pipeline/schedule.hpp"
#include "sim/pipeline/slot_player.hpp"
#include "sim/search/layer_table.hpp"

namespace moesim {

// How often a stage's parameters and gradients cross the network, and what that takes.
struct SyncTimes {                  // seconds, by stage
  std::vector<double> reduce_once;  // gradients that are reduced in the last backward pass
  std::vector<double> reduce_each;  // and those reduced in every one (ZeRO 2 and 3)
  std::vector<double> gather_once;  // parameters gathered before the first forward pass
  std::vector<double> gather_each;  // and before every pass (ZeRO 3)
  std::vector<double> copy_sums;    // gradients summed between the copies of the model (DualPipe), after all the others
  std::vector<double> optimizer;
  double grad_norm = 0;
  double drag = 0;  // communication_drag()
  explicit SyncTimes(std::size_t stages)
      : reduce_once(stages),
        reduce_each(stages),
        gather_once(stages),
        gather_each(stages),
        copy_sums(stages),
        optimizer(stages) {}
};

// One way of cutting the model into virtual stages, summed up from a layer table.
struct CutModel {
  std::vector<int> stage_of;      // by chunk, over all model copies
  std::vector<PassTimes> passes;  // by chunk
  std::vector<PairSpan> pairs;    // by the chunk of the forward half, the least of those that it is in
  // By the chunk of the backward half: what its pairs may run on after they have handed on its result.
  std::vector<double> runs_on;
  std::vector<double> may_wait;            // and how much later than the forward half it may begin
  std::vector<PartParameters> parameters;  // by stage
  std::vector<double> first_reach;         // by stage: least forward time before its first chunk
  std::vector<double> last_leave;          // by stage: least backward time after its last chunk
  int stages = 1;
  int copies = 1;
};
[[nodiscard]] CutModel cut_model(const LayerTable& table, Recompute recompute, const ModelShape& model,
                                 const PipelineSchedule& schedule, const PipelineShape& shape,
                                 const std::vector<int>& layers_per_chunk, double transfer);
// The chunks that a pipeline pairs, forward half and backward half, each combination once.
using ChunkPairs = std::vector<std::pair<std::int32_t, std::int32_t>>;
[[nodiscard]] ChunkPairs chunk_pairs(const CompiledPipeline& pipeline);
// Where a forward pass meets several backward passes: with the computation of the shortest, as if all communication were hidden,
// or played with each of them, which is closer and takes as many plays. With one that it always meets it is played.
enum class PairDetail : std::uint8_t { kComputation, kPlayed };
// Fills CutModel::pairs, for schedules that overlap passes.
void pair_passes(CutModel& cut, const LayerTable& table, Recompute recompute, const PipelineSchedule& schedule,
                 const ChunkPairs& meet, PairDetail detail, const std::vector<int>& layers_per_chunk, double drag,
                 SpanPlayer& player);

struct BoundInput {
  const CutModel* cut = nullptr;
  const SyncTimes* sync = nullptr;
  int micro_batches = 1;
  bool split_backward = false;
};
// Seconds. About a microsecond for 16 stages; allocates nothing.
[[nodiscard]] double step_time_bound(const BoundInput& input);

// The tighter bound: the schedule's slots played with the spans as durations.
[[nodiscard]] double played_bound(const BoundInput& input, const CompiledPipeline& pipeline, double transfer,
                                  SlotPlayer& player);

}  // namespace moesim
