// One MoE layer of a recording under one policy, from the first recorded step to the last: what replay.hpp adds up over layers.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sim/placement/replay.hpp"
#include "sim/placement/static_account.hpp"
#include "sim/placement/token_exchange.hpp"

namespace moesim {

class LayerReplay {
 public:
  // All of it must outlive the replay.
  LayerReplay(const ReplayTrace& trace, const LayerTimeModel& model, const PlacementPolicy& policy,
              const PlacementReplayOptions& options, int layer);
  // Adds its part to the steps and totals of `result`.
  LayerTotals run(PolicyReplay& result);

 private:
  struct Standing {
    PlacementDecision decision;
    std::vector<std::int32_t> homes;  // [expert] (switch_plan.hpp)
    Seconds copies;                   // gradients and weights of the copies in force, per iteration
  };
  // What the layer begins with.
  [[nodiscard]] static Standing still(const LayerTimeModel& model, const ExpertSlots& start, int layer,
                                      ExpertPlacement placement);
  // What taking a decision would mean.
  struct Change {
    Standing then;
    SwitchPlan plan;
    Seconds price;
    Seconds gain;  // over the dwell, the price paid
  };
  // Stops the policy, or lets it come back, by what came of it.
  void watch(PolicyReplay& result, ReplayStep& step);
  void decide(std::int64_t now, PolicyReplay& result, ReplayStep& step);
  [[nodiscard]] Change change_to(const Standing& from, PlacementDecision decision) const;
  [[nodiscard]] std::optional<Change> worth_it(const PredictedCounts& predicted, const LayerTime& before,
                                               PlacementDecision proposal);
  void carry_out(Change change, PolicyReplay& result, ReplayStep& step);
  void play(int step, PolicyReplay& result);
  // An iteration of the record under other decisions, `real` where they are the same.
  [[nodiscard]] Seconds played_as(int step, const Standing& standing, Seconds real);
  // Of the last tokens where the counts are predicted.
  [[nodiscard]] LayerTime time_of(const PredictedCounts& counts, const PlacementDecision& decision);
  [[nodiscard]] std::optional<TokenExchange> exchange_of(const TokenSet* tokens,
                                                         const PlacementDecision& decision) const;
  void take_last_tokens(int step);
  void add_spread(int step, double weight, PolicyReplay& result);
  void observe(int step, std::int64_t now);
  [[nodiscard]] int micro_batches() const { return trace_.micro_batches() * options_.repeats; }  // of an iteration

  const ReplayTrace& trace_;
  const LayerTimeModel& model_;
  const PlacementPolicy& policy_;
  const PlacementReplayOptions& options_;
  int layer_;
  LayerTimer timer_;
  LoadPredictor predictor_;
  Standing static_;
  Standing real_;
  Standing wanted_;  // by the policy; not real_ while it is stopped
  bool decides_;
  StaticAccount account_;
  // Over all iterations.
  Seconds compute_;
  Seconds exchange_;
  Seconds copies_;
  Seconds switching_;
  std::vector<double> mean_;
  TokenSet last_tokens_;
};

}  // namespace moesim
