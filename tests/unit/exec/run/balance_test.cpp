// The auxiliary loss: it evens out what gates choose, and leaves alone what it should not touch.
#include <gtest/gtest.h>

#include <numeric>

#include "tests/unit/exec/run/run_testing.hpp"

namespace moesim {
namespace {

struct Outcome {
  double first_loss = 0;
  double imbalance = 0;  // busiest over average expert, mean over the layers, of the last step
};

Outcome train_with(float coefficient) {
  ModelShape model = tiny_moe();
  model.layers = {0, 1, 1};
  Plan plan = tiny_plan({.dp = 2, .ep = 2});
  const Result<Program> program = tiny_program(plan, model);
  EXPECT_TRUE(program.has_value()) << program.error().what;
  RunSettings settings;
  settings.optimizer.rate = 0.01F;
  settings.balance_coefficient = coefficient;
  constexpr int kSteps = 25;
  const auto rank_main = [&](Communicator& comm) -> Result<Outcome> {
    const auto backend = make_cpu_backend();
    std::map<LayerId, std::vector<double>> chosen;
    const auto keep = [&](std::int64_t step, const StepResult&, RankRunner& runner) -> Status {
      if (step + 1 < kSteps) return {};
      for (const GateChoice& choice : runner.context().choices) {
        std::vector<double>& sums = chosen[choice.layer];
        sums.resize(choice.counts.size());
        for (std::size_t e = 0; e < sums.size(); ++e) sums[e] += choice.counts[e];
      }
      return {};
    };
    MOESIM_ASSIGN(const TrainingRecord record, train({*program, settings, synthetic_sequences(model.vocab, 7), kSteps},
                                                     *backend, comm, real_clock(), keep));
    Outcome outcome{record.steps.front().loss, 0};
    for (const auto& [layer, sums] : chosen) {
      const double mean = std::accumulate(sums.begin(), sums.end(), 0.0) / static_cast<double>(sums.size());
      outcome.imbalance += *std::max_element(sums.begin(), sums.end()) / mean / static_cast<double>(chosen.size());
    }
    return outcome;
  };
  const auto ranks = run_local_world<Outcome>(local_world(2), rank_main);
  EXPECT_TRUE(ranks[0].has_value()) << ranks[0].error().what;
  return ranks[0].value_or(Outcome{});
}

TEST(BalanceLoss, EvensOutTheLoads) {
  const Outcome without = train_with(0);
  const Outcome with = train_with(1);
  EXPECT_EQ(with.first_loss, without.first_loss);  // it is not told
  EXPECT_GE(with.imbalance, 1);
  EXPECT_LT(with.imbalance - 1, 0.7 * (without.imbalance - 1));
}

}  // namespace
}  // namespace moesim
