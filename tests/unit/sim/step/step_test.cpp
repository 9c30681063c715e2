// Whole steps: what the summary says fits together, and every change for the better is one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "models/shape/model_flops.hpp"
#include "tests/unit/sim/step/step_testing.hpp"

namespace moesim {
namespace {

// 64 H100, Mixtral-8x7B, TP2 PP4 EP8.
Plan mixtral_plan() {
  Plan plan;
  plan.layout.sizes = {.tp = 2, .cp = 1, .pp = 4, .vpp = 1, .dp = 8, .ep = 8, .esp = 1, .edp = 2};
  plan.global_batch = 64;
  return plan;
}

SimulatedStep step_of(const Plan& plan, const ModelShape& model, const CostModel& costs,
                      const StepOptions& options = {}) {
  auto step = simulate_step(plan, model, costs, nullptr, options);
  EXPECT_TRUE(step.has_value()) << (step ? std::string() : step.error().what);
  return step ? std::move(*step) : SimulatedStep{};
}

StepOptions no_contention() {
  StepOptions options;
  options.replay.contention = false;
  return options;
}

TEST(Step, SummaryIsConsistent) {
  const ModelShape model = zoo("mixtral-8x7b");
  const TestCluster cluster(load_cluster("preset:h100", 8).value());
  const Plan plan = mixtral_plan();
  const SimulatedStep step = step_of(plan, model, cluster.costs());
  const StepMetrics& m = step.metrics;
  EXPECT_DOUBLE_EQ(m.step_time.value() * kPicosecondsPerSecond, static_cast<double>(step.replay.end));
  EXPECT_DOUBLE_EQ(m.tokens_per_second_per_gpu, 64.0 * 4096 / m.step_time.value() / 64);
  EXPECT_DOUBLE_EQ(m.model_flops_per_second_per_gpu,
                   m.tokens_per_second_per_gpu * model_flops_per_token(model, 4096).value());
  EXPECT_NEAR(m.mfu, m.model_flops_per_second_per_gpu / 989.4e12, 1e-3);
  EXPECT_GT(m.mfu, 0.05);
  EXPECT_LT(m.mfu, 0.8);
  EXPECT_EQ(m.peak_memory, step.memory.worst().peak);
  EXPECT_DOUBLE_EQ(m.expert_imbalance, 1);
  EXPECT_GT(m.bubble_fraction, 0);
  EXPECT_LT(m.bubble_fraction, 1);
  double sum = m.breakdown.other.value();
  for (std::size_t c = 0; c < static_cast<std::size_t>(kCategories); ++c)
    sum += m.breakdown.compute[c].value() + m.breakdown.exposed[c].value();
  EXPECT_NEAR(sum, m.step_time.value(), 1e-9);
  EXPECT_FALSE(replay_program_fault(step.priced.replay).has_value());
}

TEST(Step, UtilisationIsOfTheFormatThatTheDeviceComputesIn) {
  const ModelShape model = small_moe();
  const TestCluster cluster(load_cluster("preset:v100", 1).value());
  const SimulatedStep step = step_of(plan_of({.dp = 8, .ep = 8}, 1), model, cluster.costs());
  EXPECT_NEAR(step.metrics.mfu, step.metrics.model_flops_per_second_per_gpu / 125e12, 1e-6);
  EXPECT_GT(step.metrics.mfu, 0);
  EXPECT_THAT(step.notes, testing::Contains(testing::HasSubstr("has no unit for bf16")));
}

// A send fills what leaves its rank, a receive what reaches it, a collective both; without stages there is no such difference.
TEST(Step, TransfersFillOneDirectionOfAPort) {
  const TestCluster cluster(small_nodes(2, 4));
  const auto priced = [&](const ParallelSizes& sizes) {
    return price(lowered(plan_of(sizes, 4), small_moe()), cluster.costs(), {}).replay;
  };
  const std::size_t tiers = cluster.costs().view().tiers().size();
  EXPECT_EQ(priced({.dp = 8, .ep = 8}).entities[0].ports.size(), tiers);
  const ReplayProgram program = priced({.pp = 2, .dp = 4, .ep = 4});
  EXPECT_EQ(program.entities[0].ports.size(), 2 * tiers);
  EXPECT_EQ(program.ports, static_cast<std::int32_t>(2 * tiers * program.entities.size()));
  const auto pressed = [&](const ReplayOp& op, std::size_t direction) {
    const auto begin = program.port_uses[op.port_use].share.begin() + static_cast<std::ptrdiff_t>(direction * tiers);
    return std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(tiers), 0.0);
  };
  int transfers = 0;
  for (const ReplayBlock& block : program.blocks)
    for (const ReplayOp& op : block.ops) {
      if (op.port_use == 0) continue;
      const bool sends = op.op_class == ReplayOpClass::kSend;
      const bool receives = op.op_class == ReplayOpClass::kReceive;
      transfers += sends || receives ? 1 : 0;
      EXPECT_EQ(pressed(op, 0) > 0, !receives);
      EXPECT_EQ(pressed(op, 1) > 0, !sends);
      if (!sends && !receives) {
        EXPECT_EQ(pressed(op, 0), pressed(op, 1));
      }
    }
  EXPECT_GT(transfers, 0);
}

TEST(Step, SameResultTwice) {
  const ModelShape model = small_moe();
  const TestCluster cluster(small_nodes(2, 4));
  const Plan plan = with_pipeline(plan_of({.pp = 2, .dp = 4, .ep = 4}, 4), "zb1p");
  const SimulatedStep first = step_of(plan, model, cluster.costs());
  const SimulatedStep second = step_of(plan, model, cluster.costs());
  EXPECT_EQ(first.replay.end, second.replay.end);
  EXPECT_EQ(first.replay.events, second.replay.events);
  EXPECT_EQ(first.metrics.peak_memory, second.metrics.peak_memory);
}

TEST(Step, FasterNicsAreNeverSlower) {
  for (const std::string_view pipeline : {"1f1b", "zbv", "dualpipe"}) {
    Picoseconds before = 0;
    for (const double factor : {0.25, 1.0, 4.0, 16.0}) {
      ClusterSpec spec = small_nodes(2, 4);
      for (auto& group : spec.groups) {
        auto& rate = group.node.nics->rate;
        rate.out = BytesPerSecond(rate.out.value() * factor);
        rate.in = BytesPerSecond(rate.in.value() * factor);
      }
      const TestCluster cluster(spec);
      Plan plan = with_pipeline(plan_of({.pp = 2, .dp = 4, .ep = 4}, 4), pipeline);
      plan.seq_length = 2048;
      const Picoseconds end = step_of(plan, small_moe(), cluster.costs(), no_contention()).replay.end;
      EXPECT_TRUE(before == 0 || end <= before) << pipeline << " x" << factor;
      before = end;
    }
  }
}

TEST(Step, BalancedRoutingIsNeverSlowerThanSkewed) {
  const TestCluster cluster(small_nodes(2, 4));
  for (const ParallelSizes& sizes :
       {ParallelSizes{.dp = 8, .ep = 8}, ParallelSizes{.tp = 2, .dp = 4, .ep = 4, .esp = 2}}) {
    Plan plan = plan_of(sizes, 4);
    plan.seq_length = 4096;
    const ModelShape model = wide_moe();
    const auto balanced = played(lowered(plan, model), cluster.costs(), Folding::kRoles, without_contention());
    for (const std::uint64_t seed : {1U, 2U, 3U}) {
      const Program skewed = lowered(plan, model, skewed_loads(plan, model, 8, 2, seed));
      EXPECT_LE(balanced.end, played(skewed, cluster.costs(), Folding::kRoles, without_contention()).end);
    }
  }
}

TEST(Step, OverlapIsNeverSlower) {
  const TestCluster cluster(small_nodes(2, 4));
  for (const std::string_view pipeline : {"1f1b", "interleaved", "zb1p", "dualpipev"})
    for (const ZeroStage zero : {ZeroStage::kNone, ZeroStage::kOptimizer}) {
      Plan plan = with_pipeline(plan_of({.pp = 2, .dp = 4, .ep = 2, .edp = 2}, 4), pipeline);
      plan.seq_length = 1024;
      plan.zero_dense = plan.zero_expert = zero;
      const Picoseconds overlapped = step_of(plan, small_moe(), cluster.costs(), no_contention()).replay.end;
      plan.overlap_grad_reduce = plan.overlap_param_gather = false;
      EXPECT_LE(overlapped, step_of(plan, small_moe(), cluster.costs(), no_contention()).replay.end) << pipeline;
    }
}

TEST(Step, AStragglerSlowsTheStep) {
  const Plan plan = plan_of({.pp = 2, .dp = 4, .ep = 4}, 4);
  ClusterSpec spec = small_nodes(2, 4);
  const Picoseconds healthy = step_of(plan, small_moe(), TestCluster(spec).costs()).replay.end;
  spec.slow.push_back({.first_rank = 5, .last_rank = 5, .speed = 0.5});
  const TestCluster slow(spec);
  const Picoseconds roles = step_of(plan, small_moe(), slow.costs()).replay.end;
  EXPECT_GT(roles, healthy);
  StepOptions every_rank;
  every_rank.price.folding = Folding::kEveryRank;
  EXPECT_GT(step_of(plan, small_moe(), slow.costs(), every_rank).replay.end, healthy);
}

TEST(Step, RecomputationTradesTimeForMemory) {
  const TestCluster cluster(small_nodes(2, 4));
  Plan plan = plan_of({.pp = 2, .dp = 4, .ep = 4}, 8);
  plan.seq_length = 1024;
  const SimulatedStep none = step_of(plan, small_moe(), cluster.costs());
  plan.recompute = Recompute::kFull;
  const SimulatedStep full = step_of(plan, small_moe(), cluster.costs());
  EXPECT_GT(full.replay.end, none.replay.end);
  EXPECT_LT(full.metrics.peak_memory, none.metrics.peak_memory);
}

TEST(Step, CapacityIsNoted) {
  const TestCluster cluster(small_nodes(2, 4));
  Plan plan = plan_of({.dp = 8, .ep = 8}, 1);
  plan.capacity_factor = 0.5;
  const auto step = simulate_step(plan, small_moe(), cluster.costs(), nullptr, {});
  ASSERT_TRUE(step.has_value());
  ASSERT_FALSE(step->notes.empty());
  EXPECT_NE(step->notes.back().find("drops 50.00 %"), std::string::npos) << step->notes.back();
}

TEST(Step, APlanThatDoesNotFitTheClusterIsAnError) {
  const TestCluster cluster(small_nodes(2, 4));
  const auto step = simulate_step(plan_of({.dp = 4, .ep = 4}, 1), small_moe(), cluster.costs(), nullptr, {});
  ASSERT_FALSE(step.has_value());
  EXPECT_NE(step.error().what.find("world size 8"), std::string::npos) << step.error().what;
}

}  // namespace
}  // namespace moesim
