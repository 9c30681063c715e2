// A plan under other schedules of its MoE layers, and in words what the difference is made of.
#include "sim/simulate/moe_choice.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/sim/step/step_testing.hpp"

namespace moesim {
namespace {

TEST(MoeChoice, ThePlanAndEveryOtherScheduleFastestFirst) {
  const TestCluster cluster(small_nodes(2, 4));
  Plan plan = plan_of({.dp = 8, .ep = 8}, 8);
  plan.moe_schedule = "pipemoe";
  plan.moe_degree = 2;
  const ModelShape model = wide_moe();
  const auto found = moe_alternatives(plan, model, cluster.costs(), nullptr).value();
  EXPECT_TRUE(std::is_sorted(found.begin(), found.end(), [](const MoeAlternative& a, const MoeAlternative& b) {
    return a.metrics.step_time < b.metrics.step_time;
  }));
  ASSERT_EQ(std::count_if(found.begin(), found.end(), [](const MoeAlternative& one) { return one.own; }), 1);
  const auto named = [&](std::string_view name) {
    return std::count_if(found.begin(), found.end(),
                         [name](const MoeAlternative& one) { return one.schedule == name; });
  };
  EXPECT_EQ(named("pipemoe"), 2);  // as it is, and in the best other number of pieces
  EXPECT_EQ(named("megatron-a2a"), 1);
  EXPECT_EQ(named("fsmoe"), 0);  // pipemoe, without shards
  for (const MoeAlternative& one : found)
    if (one.own) {
      EXPECT_EQ(one.metrics.step_time, simulate_step(plan, model, cluster.costs(), nullptr, {})->metrics.step_time);
    }
}

// Tutel in one piece is Parm's S1, which without shards is megatron-a2a; Janus moves tokens here. Two more have programs of their own in
// one piece.
TEST(MoeChoice, NoOtherNameOfThePlansProgramIsAnAlternative) {
  const TestCluster cluster(small_nodes(2, 4));
  Plan plan = plan_of({.dp = 8, .ep = 8}, 8);
  for (const std::string schedule : {"megatron-a2a", "tutel", "fastmoe", "janus"}) {
    plan.moe_schedule = schedule;
    plan.moe_degree = 1;
    const auto found = moe_alternatives(plan, wide_moe(), cluster.costs(), nullptr).value();
    ASSERT_GT(found.size(), 1U);
    for (const MoeAlternative& one : found) {
      if (one.own || one.degree > 1) continue;
      EXPECT_TRUE(one.schedule == "megatron-allgather" || one.schedule == "deepep")
          << one.schedule << " beside " << schedule;
    }
  }
}

// Nearly all copies go to one expert: with a trace a schedule that can shadow it does.
TEST(MoeChoice, AHotExpertIsShadowed) {
  const TestCluster cluster(small_nodes(2, 4));
  const ModelShape model = wide_moe();
  const auto experts = static_cast<int>(model.first_moe()->experts);
  SelectionTrace trace({0}, {0}, {0}, {0}, experts);
  for (int e = 0; e < experts; ++e) trace.counts(0, 0, 0, 0)[static_cast<std::size_t>(e)] = e == 0 ? 1000 : 200;
  const Result<LoadMapper> recording = LoadMapper::create(trace, -1);
  ASSERT_TRUE(recording.has_value());
  Plan plan = plan_of({.dp = 8, .ep = 8}, 8);
  plan.seq_length = 8192;
  const auto with = moe_alternatives(plan, model, cluster.costs(), &*recording).value();
  const auto shadows = [](const std::vector<MoeAlternative>& found) {
    const auto one = std::ranges::find(found, "fastermoe", &MoeAlternative::schedule);
    return one == found.end() ? -1 : one->shadows;
  };
  EXPECT_GT(shadows(with), 0);
  EXPECT_EQ(shadows(moe_alternatives(plan, model, cluster.costs(), nullptr).value()), 0);
}

TEST(MoeChoice, SaysWhatTakesAnotherTime) {
  StepMetrics a;
  StepMetrics b;
  EXPECT_EQ(difference_text(a, b), "nothing");
  const auto at = [](Category category) { return static_cast<std::size_t>(category); };
  a.breakdown.exposed[at(Category::kEpComm)] = Seconds(2e-3);
  b.breakdown.exposed[at(Category::kEpComm)] = Seconds(3.2e-3);
  a.breakdown.compute[at(Category::kRouting)] = Seconds(0.5e-3);
  a.breakdown.exposed[at(Category::kTpComm)] = Seconds(0.05e-3);  // less than a twentieth of the most
  EXPECT_EQ(difference_text(a, b),
            "expert dispatch and combine exposed 1.20 ms less, gate, permutation and sorting of tokens 500.00 us more");
}

}  // namespace
}  // namespace moesim
