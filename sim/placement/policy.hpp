// A placement policy: from what the gate has chosen so far to where the experts of a layer should stand next.
//
// Contract of propose(), which tests hold every policy of the list to:
//   - it decides on `predicted` alone, which is made of past counts (predictor.hpp); it never sees what it will be judged on;
//   - the placement has the sizes of the current one, so it keeps to the slots, and holds every expert;
//   - the same question gets the same answer, and ties go to the lower number unless the policy says otherwise;
//   - it may propose what is no better: whether a proposal is taken is decided by the replay (replay.hpp), by one rule for all.
// To add a policy: one file in policies/, one line in policies.cpp.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/placement/layer_time.hpp"
#include "traces/token_sample.hpp"

namespace moesim {

struct PlacementQuestion {
  const LayerTimeModel& model;
  PredictedCounts predicted;  // of one micro-batch
  const PlacementDecision& current;
  int micro_batches = 1;  // of an iteration; copies exchange gradients once in it
  // Experts are chosen in so many groups of neighbours (DeepSeek's group-limited gates); 0: in none.
  int expert_groups = 0;
  // The last tokens before this decision, with what each chose; nullptr where the recording has counts only.
  const TokenSet* tokens = nullptr;
};

class PlacementPolicy {
 public:
  PlacementPolicy() = default;
  PlacementPolicy(const PlacementPolicy&) = delete;
  PlacementPolicy& operator=(const PlacementPolicy&) = delete;
  virtual ~PlacementPolicy() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;
  [[nodiscard]] virtual std::string_view description() const = 0;  // one line
  // Whether it has nothing to propose without PlacementQuestion::tokens.
  [[nodiscard]] virtual bool needs_tokens() const { return false; }
  [[nodiscard]] virtual PlacementDecision propose(const PlacementQuestion& question) const = 0;
};

// All policies in the order of the tables; the first is the static one, in force before anything is decided.
[[nodiscard]] std::span<const PlacementPolicy* const> placement_policies();
// An error lists the names.
[[nodiscard]] Result<const PlacementPolicy*> find_placement_policy(std::string_view name);
// An error where the policy needs tokens and the recording has none.
[[nodiscard]] Status check_tokens(const PlacementPolicy& policy, bool has_tokens);

}  // namespace moesim
