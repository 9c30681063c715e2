// Roles against every rank. What price.hpp claims: equal to the picosecond without contention on a cluster whose ranks
// are alike, never less where blocks of two micro-batches are interleaved.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/unit/sim/step/step_testing.hpp"

namespace moesim {
namespace {

struct Case {
  ParallelSizes sizes;
  const char* order = "tp-cp-ep-dp-pp";
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
  };
  return kCases;
}

// Wide enough that a step is not all launches, and that skew costs time.
Program program_of_plan(const Plan& plan, bool skewed) {
  const ModelShape model = wide_moe();
  return lowered(plan, model, skewed ? skewed_loads(plan, model, 8, 3, 5) : nullptr);
}

Program program_of(const Case& one, std::string_view pipeline, bool skewed) {
  Plan plan = with_pipeline(plan_of(one.sizes, 2 * one.sizes.pp), pipeline);
  plan.layout.order = one.order;
  plan.seq_length = 4096;
  return program_of_plan(plan, skewed);
}

TEST(Folding, SkewCostsTimeHere) {  // or the tests below would compare nothing
  const Case& one = cases().front();
  const TestCluster cluster(small_nodes(2, 4));
  EXPECT_GT(static_cast<double>(played(program_of(one, "1f1b", true), cluster.costs(), Folding::kRoles, without_contention()).end),
            1.2 * static_cast<double>(played(program_of(one, "1f1b", false), cluster.costs(), Folding::kRoles, without_contention()).end));
}

std::string name_of(const Case& one, std::string_view pipeline, bool skewed) {
  return fmt::format("{} tp{} cp{} pp{} dp{} ep{} esp{} {}{}", pipeline, one.sizes.tp, one.sizes.cp, one.sizes.pp, one.sizes.dp,
                     one.sizes.ep, one.sizes.esp, one.order, skewed ? " skewed" : "");
}

TEST(Folding, RolesTakeAsLongAsEveryRank) {
  for (const Case& one : cases()) {
    const TestCluster cluster(small_nodes(2, one.sizes.world() / 2));
    for (const std::string_view pipeline : {"gpipe", "1f1b", "zb1p", "zbv", "interleaved"}) {
      if (one.sizes.pp == 1 && pipeline != "1f1b") continue;
      for (const bool skewed : {false, true}) {
        const Program program = program_of(one, pipeline, skewed);
        const auto roles = played(program, cluster.costs(), Folding::kRoles, without_contention());
        const auto ranks = played(program, cluster.costs(), Folding::kEveryRank, without_contention());
        fmt::print("EX {} {:.6f}\n", name_of(one, pipeline, skewed), static_cast<double>(roles.end) / static_cast<double>(ranks.end));
        EXPECT_EQ(roles.end, ranks.end) << name_of(one, pipeline, skewed) << " ratio "
                                        << static_cast<double>(roles.end) / static_cast<double>(ranks.end);
      }
    }
  }
}

TEST(Folding, InterleavedPassesTakeAtLeastAsLong) {
  for (const Case& one : cases()) {
    if (one.sizes.pp == 1) continue;
    const TestCluster cluster(small_nodes(2, one.sizes.world() / 2));
    for (const std::string_view pipeline : {"dualpipe", "dualpipev"})
      for (const bool skewed : {false, true}) {
        const Program program = program_of(one, pipeline, skewed);
        const auto roles = played(program, cluster.costs(), Folding::kRoles, without_contention());
        const auto ranks = played(program, cluster.costs(), Folding::kEveryRank, without_contention());
        const double ratio = static_cast<double>(roles.end) / static_cast<double>(ranks.end);
        fmt::print("DP {} {:.6f}\n", name_of(one, pipeline, skewed), ratio);
        EXPECT_TRUE(skewed || roles.end == ranks.end) << name_of(one, pipeline, skewed) << " ratio " << ratio;
        EXPECT_GE(roles.end, ranks.end) << name_of(one, pipeline, skewed);
        EXPECT_LT(ratio, 1.05) << name_of(one, pipeline, skewed);
      }
  }
}

// With contention a role's port stands for the busiest of its ranks, so balanced steps agree closely; how closely is
// what this test holds.
TEST(Folding, ContentionKeepsThemClose) {
  for (const Case& one : cases()) {
    const TestCluster cluster(small_nodes(2, one.sizes.world() / 2));
    for (const bool skewed : {false, true}) {
      const Program program = program_of(one, "1f1b", skewed);
      const auto roles = played(program, cluster.costs(), Folding::kRoles, {});
      const auto ranks = played(program, cluster.costs(), Folding::kEveryRank, {});
      const double ratio = static_cast<double>(roles.end) / static_cast<double>(ranks.end);
      fmt::print("CT {} {:.6f}\n", name_of(one, "1f1b", skewed), ratio);
      EXPECT_NEAR(ratio, 1, skewed ? 0.03 : 0.005) << name_of(one, "1f1b", skewed);
    }
  }
}

// A device map that lists the ranks of the second stage backwards must not tear pipelines apart.
TEST(Folding, FollowsTheDeviceMap) {
  const Case one{{.pp = 2, .dp = 4, .ep = 4}};
  const TestCluster cluster(small_nodes(2, 4));
  Program program = program_of(one, "1f1b", true);
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
