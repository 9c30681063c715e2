// A replay with a limit: given up only where it would have ended later, and otherwise the same.
#include <gtest/gtest.h>

#include "tests/unit/sim/step/step_testing.hpp"
#include "traces/random.hpp"

namespace moesim {
namespace {

struct Tally {
  int outlasted = 0;
  int ended = 0;
};

void expect_limits_are_kept(const ReplayProgram& program, Pcg32& random, Tally& tally) {
  const ReplayResult whole = replay(program, {});
  ASSERT_TRUE(whole.finished);
  ASSERT_FALSE(whole.outlasted);
  std::vector<Picoseconds> limits = {whole.end, whole.end + 1, 2 * whole.end, whole.end - 1, whole.end / 2, 0};
  for (int i = 0; i < 4; ++i) limits.push_back(whole.end / 1000 * static_cast<Picoseconds>(random.below(1300)));
  for (const Picoseconds limit : limits)
    for (const bool leap : {false, true}) {
      const ReplayResult limited = replay(program, {.leap = leap, .limit = limit});
      SCOPED_TRACE(::testing::Message() << "limit " << limit << " of " << whole.end);
      if (limit >= whole.end) {
        ASSERT_FALSE(limited.outlasted);
      }
      if (limited.outlasted) {
        ++tally.outlasted;
        ASSERT_GT(whole.end, limit);
        ASSERT_FALSE(limited.finished);
        ASSERT_LE(limited.end, whole.end);
        continue;
      }
      ++tally.ended;
      ASSERT_TRUE(limited.finished);
      ASSERT_EQ(limited.end, whole.end);
    }
}

TEST(ReplayLimit, IsKeptByEveryPipelineWithAnyLoads) {
  Pcg32 random(17);
  Tally tally;
  const TestCluster cluster(small_nodes(1, 8));
  for (const std::string_view pipeline : kPipelines)
    for (int round = 0; round < 6; ++round) {
      const ParallelSizes sizes = round % 2 == 0 ? ParallelSizes{.pp = 2, .dp = 4, .ep = 2, .edp = 2}
                                                 : ParallelSizes{.tp = 2, .pp = 2, .dp = 2, .ep = 2, .esp = 2};
      Plan plan = with_pipeline(plan_of(sizes, 2 * (1 + static_cast<int>(random.below(6)))), pipeline);
      plan.recompute = static_cast<Recompute>(random.below(3));
      plan.zero_dense = plan.zero_expert = static_cast<ZeroStage>(random.below(4));
      if (!check_plan(plan, small_moe(), 8)) continue;
      const Program program = lowered(plan, small_moe(), skewed_loads(plan, small_moe(), 8, 2, 3 + round));
      PriceOptions options;
      options.folding = round % 3 == 0 ? Folding::kEveryRank : Folding::kRoles;
      expect_limits_are_kept(price(program, cluster.costs(), options).replay, random, tally);
      if (HasFatalFailure()) return;
    }
  EXPECT_GT(tally.outlasted, 50);  // both ways were gone
  EXPECT_GT(tally.ended, 50);
}

}  // namespace
}  // namespace moesim
