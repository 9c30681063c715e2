// Every pipeline finishes: no shape that check_plan accepts may end in a deadlock.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/unit/sim/step/step_testing.hpp"

namespace moesim {
namespace {

TEST(Pipelines, AllFinish) {
  for (const int pp : {2, 4}) {
    const TestCluster cluster(small_nodes(2, pp));
    for (const std::string_view pipeline : kPipelines)
      for (const int vpp : {1, 2})
        for (const int micro_batches : {1, 2, 3, 4, 7, 8, 12}) {
          if (pipeline.starts_with("interleaved") && vpp == 1) continue;
          if (!pipeline.starts_with("interleaved") && vpp == 2) continue;
          Plan plan = with_pipeline(plan_of({.pp = pp, .dp = 2, .ep = 2}, micro_batches), pipeline);
          if (!check_plan(plan, small_moe(), pp * 2)) continue;  // the schedule refuses the shape
          for (const Recompute recompute : {Recompute::kNone, Recompute::kFull}) {
            plan.recompute = recompute;
            const auto step = simulate_step(plan, small_moe(), cluster.costs(), nullptr, {});
            EXPECT_TRUE(step.has_value()) << fmt::format("{} pp {} m {}: {}", pipeline, pp, micro_batches,
                                                         step ? std::string() : step.error().what);
          }
        }
  }
}

TEST(Pipelines, AllFinishWithSkewedLoadsAndShards) {
  const TestCluster cluster(small_nodes(2, 8));
  for (const std::string_view pipeline : kPipelines)
    for (const int zero : {0, 1, 3}) {
      Plan plan = with_pipeline(plan_of({.tp = 2, .pp = 2, .dp = 4, .ep = 2, .esp = 2, .edp = 2}, 4), pipeline);
      plan.zero_dense = plan.zero_expert = static_cast<ZeroStage>(zero);
      plan.overlap_param_gather = plan.overlap_grad_reduce = zero != 1;
      const Program program = lowered(plan, small_moe(), skewed_loads(plan, small_moe(), 8, 2, 9));
      EXPECT_TRUE(played(program, cluster.costs(), Folding::kEveryRank, {}).finished) << pipeline;
      EXPECT_TRUE(played(program, cluster.costs(), Folding::kRoles, {}).finished) << pipeline;
    }
}

}  // namespace
}  // namespace moesim
