// The whole space of plans, ranked by replayed step time, with a proof that the list is the true top within the model.
//
// Every combination is looked at once. It is dropped with a reason when it does not divide, is not offered by the pipeline
// schedule, or cannot fit; the rest get a *bound* (bound.hpp), a closed form that is never above the replay. Plans are then
// replayed in the order of their bounds until the next bound is no better than the worst of the best K: no plan that was
// not replayed can belong into the list. Results do not depend on the number of threads.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "models/cost/cost_model.hpp"
#include "sim/search/space.hpp"
#include "sim/simulate/step.hpp"

namespace moesim {

enum class Pruned : std::uint8_t {
  kWorldNotDivisible,  // world / (tp * cp * pp), or / (esp * ep * pp), is not whole
  kMeshesDisagree,     // tp * cp * dp is not a multiple of esp * ep
  kHeads,              // attention heads / tp
  kExperts,            // experts / ep
  kExpertWidth,        // expert hidden size / esp, or ffn width / tp
  kLayers,             // fewer layers than virtual stages
  kSequence,           // sequence / (2 cp), or tokens / tp
  kBatch,              // global batch / (micro batch * dp)
  kPipelineShape,      // the schedule does not exist for these stages, micro-batches and chunks
  kMoeSchedule,        // the MoE schedule does not run under this layout
  kEquivalent,    // the same plan under another name: ZeRO over one replica, MoE schedules that differ over ESP alone
  kMemory,        // a lower bound of the peak memory is above the device's
  kBound,         // the time bound is above the K-th best replayed step
  kMemoryWalked,  // the exact memory walk, done before a replay, says that it does not fit
  kCount,
};
[[nodiscard]] std::string_view pruned_name(Pruned reason);         // "memory": JSON keys
[[nodiscard]] std::string_view pruned_description(Pruned reason);  // for people

struct RankedPlan {
  Plan plan;
  StepMetrics metrics;
  Seconds bound;       // what the closed form said
  std::string reason;  // why it stands where it stands, in one line
};

struct Certificate {
  std::int64_t considered = 0;  // combinations of the space
  std::array<std::int64_t, static_cast<std::size_t>(Pruned::kCount)> pruned{};
  std::int64_t bounded = 0;   // plans that got a time bound
  std::int64_t replayed = 0;  // to their end, or until it was certain that they are not among the best
  bool proven = false;        // false when interrupted, or when a replay was faster than its bound
  double gap = 0;             // relative: how much better an unreplayed plan could be; 0 when proven
  Seconds largest_possible_gain;
};

struct RankResult {
  std::vector<RankedPlan> plans;  // best first; ties in the order of the space
  Certificate certificate;
  std::vector<std::string> notes;
};

struct SearchOptions {
  int top = 10;
  int threads = 1;
  std::function<void(std::int64_t done, std::int64_t total, std::string_view stage)> progress;  // may be empty
  const std::atomic<bool>* stop = nullptr;  // set by Ctrl-C: what is known so far is returned, not proven
};

// kNoFeasiblePlan when nothing fits: the error says which reason removed most and by how much the smallest plan misses.
[[nodiscard]] Result<RankResult> rank_plans(const ModelShape& model, const CostModel& costs, const LoadMapper* trace,
                                            const SearchSpace& space, const SearchOptions& options);

}  // namespace moesim
