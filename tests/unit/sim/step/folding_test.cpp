// Roles against every rank: what price.hpp claims, without contention on a cluster whose ranks are alike, and how close
// they stay with contention.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/unit/sim/step/step_testing.hpp"

namespace moesim {
namespace {

struct Case {
  ParallelSizes sizes;
  const char* order = "tp-cp-ep-dp-pp";
  const char* moe_schedule = "megatron-a2a";
};

const std::vector<Case>& cases() {
  static const std::vector<Case> kCases = {
      {{.dp = 8, .ep = 8}},
      {{.dp = 8, .ep = 4, .edp = 2}},
      {{.pp = 2, .dp = 4, .ep = 4}},
      {{.tp = 2, .pp = 2, .dp = 4, .ep = 4, .edp = 2}},
      {{.tp = 2, .pp = 2, .dp = 4, .ep = 4, .esp = 2}},
      {{.tp = 2, .cp = 2, .pp = 2, .dp = 2, .ep = 4, .esp = 2}},
      {{.pp = 2, .dp = 8, .ep = 8}, "tp-cp-pp-ep-dp"},
      {{.tp = 2, .pp = 2, .dp = 4, .ep = 4, .esp = 2}, "tp-cp-ep-dp-pp", "parm-s1"},
  };
  return kCases;
}

// `seed` 0: balanced. Wide enough that a step is not all launches, and that skew costs time.
Program program_of_plan(const Plan& plan, std::uint64_t seed) {
  const ModelShape model = wide_moe();
  return lowered(plan, model, seed > 0 ? skewed_loads(plan, model, 8, 3, seed) : nullptr);
}

Program program_of(const Case& one, std::string_view pipeline, std::uint64_t seed) {
  Plan plan = with_pipeline(plan_of(one.sizes, 2 * one.sizes.pp), pipeline);
  plan.layout.order = one.order;
  plan.moe_schedule = one.moe_schedule;
  plan.seq_length = 4096;
  return program_of_plan(plan, seed);
}

TEST(Folding, SkewCostsTimeHere) {  // or the tests below would compare nothing
  const Case& one = cases().front();
  const TestCluster cluster(small_nodes(2, 4));
  EXPECT_GT(static_cast<double>(
                played(program_of(one, "1f1b", 5), cluster.costs(), Folding::kRoles, without_contention()).end),
            1.2 * static_cast<double>(
                      played(program_of(one, "1f1b", 0), cluster.costs(), Folding::kRoles, without_contention()).end));
}

std::string name_of(const Case& one, std::string_view pipeline) {
  return fmt::format("{} tp{} cp{} pp{} dp{} ep{} esp{} {} {}", pipeline, one.sizes.tp, one.sizes.cp, one.sizes.pp,
                     one.sizes.dp, one.sizes.ep, one.sizes.esp, one.order, one.moe_schedule);
}

double ratio_of(const Program& program, const CostModel& costs, const ReplayOptions& options) {
  const auto roles = played(program, costs, Folding::kRoles, options);
  const auto ranks = played(program, costs, Folding::kEveryRank, options);
  return static_cast<double>(roles.end) / static_cast<double>(ranks.end);
}

TEST(Folding, BalancedStepsAreEqualToThePicosecond) {
  for (const Case& one : cases()) {
    const TestCluster cluster(small_nodes(2, one.sizes.world() / 2));
    for (const std::string_view pipeline : kPipelines) {
      if (one.sizes.pp == 1 && pipeline != "1f1b") continue;
      EXPECT_EQ(ratio_of(program_of(one, pipeline, 0), cluster.costs(), without_contention()), 1)
          << name_of(one, pipeline);
    }
  }
}

TEST(Folding, SkewedStepsAgreeWhereCollectivesEncloseTheExperts) {
  for (const Case& one : cases()) {
    const TestCluster cluster(small_nodes(2, one.sizes.world() / 2));
    for (const std::string_view pipeline : {"gpipe", "1f1b", "interleaved"})
      for (const std::uint64_t seed : {5U, 6U, 7U}) {
        if (one.sizes.pp == 1 && pipeline != "1f1b") continue;
        const double ratio = ratio_of(program_of(one, pipeline, seed), cluster.costs(), without_contention());
        EXPECT_NEAR(ratio, 1, one.sizes.esp == 1 ? 1e-4 : 1e-3) << name_of(one, pipeline);
      }
  }
}

// Weight gradients apart and interleaved passes run past several layers without meeting: a rank that is busy in one layer
// has time to catch up in the next, the role has not.
TEST(Folding, SplitAndInterleavedPassesTakeAtLeastAsLong) {
  for (const Case& one : cases()) {
    if (one.sizes.pp == 1) continue;
    const TestCluster cluster(small_nodes(2, one.sizes.world() / 2));
    for (const std::string_view pipeline : {"zb1p", "zbv", "dualpipe", "dualpipev"})
      for (const std::uint64_t seed : {5U, 6U}) {
        const double ratio = ratio_of(program_of(one, pipeline, seed), cluster.costs(), without_contention());
        EXPECT_GE(ratio, one.sizes.esp == 1 ? 1 - 1e-4 : 0.999) << name_of(one, pipeline);
        EXPECT_LT(ratio, 1.08) << name_of(one, pipeline);
      }
  }
}

TEST(Folding, ContentionKeepsThemClose) {
  for (const Case& one : cases()) {
    const TestCluster cluster(small_nodes(2, one.sizes.world() / 2));
    EXPECT_NEAR(ratio_of(program_of(one, "1f1b", 0), cluster.costs(), {}), 1, 1e-6) << name_of(one, "1f1b");
    EXPECT_NEAR(ratio_of(program_of(one, "1f1b", 5), cluster.costs(), {}), 1, 0.01) << name_of(one, "1f1b");
  }
}

// A device map that lists the ranks of the second stage backwards must not tear pipelines apart.
TEST(Folding, FollowsTheDeviceMap) {
  const Case one{{.pp = 2, .dp = 4, .ep = 4}};
  const TestCluster cluster(small_nodes(2, 4));
  Program program = program_of(one, "1f1b", 5);
  const auto plain = played(program, cluster.costs(), Folding::kRoles, without_contention());
  LayoutSpec spec = program.plan.layout;
  for (const int rank : {0, 1, 2, 3, 7, 6, 5, 4}) spec.device_map.push_back(RankId(rank));
  program.plan.layout = spec;
  program.layout = std::make_shared<const Layout>(Layout::make(spec, 8).value());
  // Partners of one pipeline are now on different rails and meet in the spine.
  const auto roles = played(program, cluster.costs(), Folding::kRoles, without_contention());
  EXPECT_GT(roles.end, plain.end);
  EXPECT_EQ(roles.end, played(program, cluster.costs(), Folding::kEveryRank, without_contention()).end);
}

}  // namespace
}  // namespace moesim
