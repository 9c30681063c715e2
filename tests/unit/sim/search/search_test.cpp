#include "sim/search/search.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "models/cluster/cluster_source.hpp"
#include "models/shape/model_source.hpp"
#include "sim/lower/moe_schedule.hpp"

namespace moesim {
namespace {

using ::testing::HasSubstr;

// OLMoE cut to four layers: small enough to try every plan.
ModelShape small_model() {
  ModelShape model = load_model("zoo:olmoe-1b-7b")->shape;
  model.layers.resize(4);
  return model;
}

ClusterView cluster(int nodes) { return *compile(*load_cluster("preset:h100", nodes)); }

SearchSpace small_space(const ModelShape& model, const ClusterView& view) {
  SearchSpace space = default_space(model, view, 2048, 32);
  space.tp = {1, 2};
  space.pp = {1, 2, 4};
  space.vpp = {2};
  space.ep = {4, 8};
  space.esp = {1, 2};
  space.micro_batch = {1, 2};
  space.moe_schedule = {"megatron-a2a", "parm-s1"};
  space.zero_dense = {ZeroStage::kNone, ZeroStage::kOptimizer, ZeroStage::kParameters};
  space.zero_expert = {ZeroStage::kOptimizer, ZeroStage::kGradients};
  return space;
}

// 16 nodes of 8 have 128 ranks.
TEST(DefaultSpace, HasFewMoeSchedulesWhereEachTakesLong) {
  const ModelShape model = small_model();
  EXPECT_EQ(default_space(model, cluster(16), 2048, 1024).moe_schedule.size(), moe_schedules().size());
  EXPECT_EQ(default_space(model, cluster(17), 2048, 1024).moe_schedule,
            (std::vector<std::string>{"megatron-a2a", "deepep"}));
}

// Every plan that the search replays, best first: a list longer than the space.
RankResult rank_all(const ModelShape& model, const CostModel& costs, const SearchSpace& space, int top) {
  SearchOptions options;
  options.top = top;
  auto result = rank_plans(model, costs, nullptr, space, options);
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().what);
  return std::move(*result);
}

TEST(Search, BoundIsNeverAboveTheReplay) {
  const ModelShape model = small_model();
  const ClusterView view = cluster(2);
  const CostModel costs(view);
  const RankResult all = rank_all(model, costs, small_space(model, view), 1'000'000);
  ASSERT_GT(all.plans.size(), 500U);
  for (const RankedPlan& ranked : all.plans)
    EXPECT_LE(ranked.bound.value(), ranked.metrics.step_time.value() * (1 + 1e-9))
        << run_name(ranked.plan) << ' ' << ranked.plan.pipeline << " recompute "
        << recompute_name(ranked.plan.recompute);
}

TEST(Search, BoundIsNeverAboveTheReplayUnderAnyMoeSchedule) {
  const ModelShape model = small_model();
  const ClusterView view = cluster(2);
  const CostModel costs(view);
  SearchSpace space = small_space(model, view);
  space.pp = {1, 2};
  space.micro_batch = {1};
  space.zero_dense = space.zero_expert = {ZeroStage::kOptimizer};
  space.moe_schedule.clear();
  for (const MoeSchedule* schedule : moe_schedules()) space.moe_schedule.emplace_back(schedule->name());
  const RankResult all = rank_all(model, costs, space, 1'000'000);
  std::set<std::string> found;
  for (const RankedPlan& ranked : all.plans) {
    found.insert(ranked.plan.moe_schedule);
    for (const MoeSchedule* schedule : moe_schedules())  // one of those with the same program stands for all
      if (schedule->same_as(ranked.plan, *model.first_moe()) == ranked.plan.moe_schedule)
        found.emplace(schedule->name());
    EXPECT_LE(ranked.bound.value(), ranked.metrics.step_time.value() * (1 + 1e-9))
        << run_name(ranked.plan) << ' ' << ranked.plan.pipeline << ' ' << ranked.plan.moe_schedule;
  }
  EXPECT_EQ(found.size(), moe_schedules().size());
}

// Two nodes of 8 ranks: of an EP group of 16 each has 8 members, a smaller one stands on one node.
TEST(Search, TokensVisitTheNodesOfTheCluster) {
  const ModelShape model = small_model();
  const ClusterView view = cluster(2);
  const CostModel costs(view);
  SearchSpace space = small_space(model, view);
  space.pp = {1};
  space.esp = {1};
  space.ep = {8, 16};
  space.moe_schedule = {"deepep"};
  int over_nodes = 0;
  const RankResult result = rank_all(model, costs, space, 1'000'000);
  for (const RankedPlan& ranked : result.plans) {
    const ParallelSizes& sizes = ranked.plan.sizes();
    EXPECT_EQ(sizes.ep_on_node, 8) << run_name(ranked.plan);
    over_nodes += sizes.ep > 8 ? 1 : 0;
  }
  EXPECT_GT(over_nodes, 0);
  EXPECT_THAT(result.notes, testing::Contains(testing::HasSubstr("estimated from how often each expert was chosen")));
}

TEST(Search, NumbersOfPiecesAreADimension) {
  const ModelShape model = small_model();
  const ClusterView view = cluster(1);
  const CostModel costs(view);
  SearchSpace space = small_space(model, view);
  space.pp = {1};
  space.ep = {8};
  space.esp = {1};
  space.moe_schedule = {"megatron-a2a", "pipemoe"};
  const auto degrees_found = [&] {
    std::set<std::pair<std::string, int>> found;
    for (const RankedPlan& ranked : rank_all(model, costs, space, 1'000'000).plans)
      found.emplace(ranked.plan.moe_schedule, ranked.plan.moe_degree);
    return found;
  };
  using Found = std::set<std::pair<std::string, int>>;
  // All that each can; one piece of pipemoe is megatron-a2a.
  EXPECT_EQ(degrees_found(), (Found{{"megatron-a2a", 1}, {"pipemoe", 2}, {"pipemoe", 4}, {"pipemoe", 8}}));
  space.moe_degree = {1, 2};
  EXPECT_EQ(degrees_found(), (Found{{"megatron-a2a", 1}, {"pipemoe", 2}}));
  // Of four combinations one is the same as another and one does not exist.
  const Certificate certificate = rank_all(model, costs, space, 1).certificate;
  EXPECT_GE(certificate.pruned[static_cast<std::size_t>(Pruned::kMoeSchedule)], certificate.considered / 8);
  EXPECT_EQ(
      std::accumulate(certificate.pruned.begin(), certificate.pruned.end(), std::int64_t{0}) + certificate.replayed,
      certificate.considered);
}

TEST(Search, NumbersOfPiecesOfBackwardPassesAreADimensionWhereNamed) {
  const ModelShape model = small_model();
  const ClusterView view = cluster(1);
  const CostModel costs(view);
  SearchSpace space = small_space(model, view);
  space.pp = {1};
  space.ep = {8};
  space.esp = {1};
  space.moe_schedule = {"pipemoe"};
  space.moe_degree = {1, 2};
  space.moe_backward_degree = {1, 2};
  std::set<std::pair<int, int>> found;
  const RankResult result = rank_all(model, costs, space, 1'000'000);
  for (const RankedPlan& ranked : result.plans) {
    found.emplace(ranked.plan.moe_degree, ranked.plan.moe_backward_degree);
    EXPECT_LE(ranked.bound.value(), ranked.metrics.step_time.value() * (1 + 1e-9)) << run_name(ranked.plan);
  }
  EXPECT_EQ(found, (std::set<std::pair<int, int>>{{1, 0}, {1, 2}, {2, 0}, {2, 1}}));
  // Four times as many combinations as of one number, each counted once.
  const Certificate& certificate = result.certificate;
  EXPECT_EQ(
      std::accumulate(certificate.pruned.begin(), certificate.pruned.end(), std::int64_t{0}) + certificate.replayed,
      certificate.considered);
  space.moe_degree = {1};
  space.moe_backward_degree = {};
  EXPECT_EQ(rank_all(model, costs, space, 1).certificate.considered * 4, certificate.considered);
}

// Half of all copies go to the first two of 64 experts.
LoadMapper hot_recording() {
  SelectionTrace trace({0}, {0, 1, 2, 3}, {0}, {0, 1, 2, 3, 4, 5, 6, 7}, 64);
  for (int layer = 0; layer < 4; ++layer)
    for (int rank = 0; rank < 8; ++rank)
      for (std::size_t e = 0; e < 64; ++e) trace.counts(0, layer, 0, rank)[e] = e < 2 ? 310 : 10;
  return LoadMapper::create(trace, -1).value();
}

TEST(Search, ShadowedExpertsAreADimensionOfSchedulesThatShadow) {
  const ModelShape model = small_model();
  const ClusterView view = cluster(1);
  const CostModel costs(view);
  const LoadMapper recording = hot_recording();
  SearchSpace space = small_space(model, view);
  space.pp = {1};
  space.ep = {1, 8};
  space.moe_schedule = {"megatron-a2a", "fastermoe"};
  space.moe_degree = {1};
  space.moe_shadows = {0, 1, 2, 128};
  const auto everything = [&](int top) {
    SearchOptions options;
    options.top = top;
    return rank_plans(model, costs, &recording, space, options);
  };
  const Result<RankResult> all = everything(1'000'000);
  ASSERT_TRUE(all.has_value()) << all.error().what;
  std::set<std::pair<std::string, int>> found;
  for (const RankedPlan& ranked : all->plans) {
    found.emplace(ranked.plan.moe_schedule, ranked.plan.moe_shadows);
    EXPECT_LE(ranked.bound.value(), ranked.metrics.step_time.value() * (1 + 1e-9)) << run_name(ranked.plan);
    if (ranked.plan.sizes().ep == 1) {
      EXPECT_EQ(ranked.plan.moe_schedule, "megatron-a2a");
    }
  }
  // None shadowed in one piece is megatron-a2a, and there are no 128 experts.
  EXPECT_EQ(found, (std::set<std::pair<std::string, int>>{{"megatron-a2a", 0}, {"fastermoe", 1}, {"fastermoe", 2}}));
  // With both hot experts everywhere one rank has no more to do than another.
  space.ep = {8};
  const Result<RankResult> spread = everything(1);
  ASSERT_TRUE(spread.has_value()) << spread.error().what;
  EXPECT_EQ(spread->plans.front().plan.moe_shadows, 2);
}

// 64 experts of 3 x 1024 x 2048 with six bytes each are far more than 8 copies of 2048 tokens: Janus moves tokens here.
TEST(Search, JanusIsNotListedBesideItsEqual) {
  const ModelShape model = small_model();
  const ClusterView view = cluster(1);
  const CostModel costs(view);
  SearchSpace space = small_space(model, view);
  space.pp = {1};
  space.moe_schedule = {"megatron-a2a", "janus"};
  for (const RankedPlan& ranked : rank_all(model, costs, space, 1'000'000).plans)
    EXPECT_EQ(ranked.plan.moe_schedule, "megatron-a2a") << run_name(ranked.plan);
  space.moe_schedule = {"janus"};
  EXPECT_FALSE(rank_all(model, costs, space, 3).plans.empty());
}

TEST(Search, TheListIsTheTopOfTheWholeSpace) {
  const ModelShape model = small_model();
  const ClusterView view = cluster(2);
  const CostModel costs(view);
  const SearchSpace space = small_space(model, view);
  const RankResult all = rank_all(model, costs, space, 1'000'000);
  // In a long enough list no replay is given up; in a short one most are.
  for (const std::size_t length : {5U, 60U}) {
    const RankResult top = rank_all(model, costs, space, static_cast<int>(length));
    EXPECT_TRUE(top.certificate.proven);
    EXPECT_LT(top.certificate.replayed, all.certificate.replayed);
    ASSERT_EQ(top.plans.size(), length);
    for (std::size_t i = 0; i < top.plans.size(); ++i) {
      EXPECT_EQ(top.plans[i].metrics.step_time, all.plans[i].metrics.step_time) << i;
      EXPECT_EQ(top.plans[i].metrics.peak_memory, all.plans[i].metrics.peak_memory) << i;
    }
  }
}

TEST(Search, EveryCombinationIsAccountedFor) {
  const ModelShape model = small_model();
  const ClusterView view = cluster(1);
  const CostModel costs(view);
  const RankResult result = rank_all(model, costs, small_space(model, view), 3);
  const auto& certificate = result.certificate;
  EXPECT_EQ(
      std::accumulate(certificate.pruned.begin(), certificate.pruned.end(), std::int64_t{0}) + certificate.replayed,
      certificate.considered);
}

TEST(Search, ThreadsDoNotChangeTheResult) {
  const ModelShape model = small_model();
  const ClusterView view = cluster(1);
  const CostModel costs(view);
  const SearchSpace space = small_space(model, view);
  SearchOptions options;
  const auto one = rank_plans(model, costs, nullptr, space, options);
  options.threads = 3;
  const auto three = rank_plans(model, costs, nullptr, space, options);
  ASSERT_TRUE(one.has_value() && three.has_value());
  ASSERT_EQ(one->plans.size(), three->plans.size());
  for (std::size_t i = 0; i < one->plans.size(); ++i) EXPECT_EQ(one->plans[i].plan, three->plans[i].plan) << i;
  EXPECT_EQ(one->certificate.replayed, three->certificate.replayed);
}

TEST(Search, NothingFitsSaysByHowMuch) {
  const ModelShape model = load_model("zoo:deepseek-v3")->shape;
  const ClusterView view = cluster(1);
  const CostModel costs(view);
  SearchSpace space = default_space(model, view, 4096, 64);
  space.micro_batch = {1};
  const auto result = rank_plans(model, costs, nullptr, space, {});
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().kind, ErrorKind::kNoFeasiblePlan);
  EXPECT_THAT(result.error().what, HasSubstr("memory"));
  EXPECT_THAT(result.error().hint, HasSubstr("GiB"));
}

TEST(Search, StoppedSearchIsNotProven) {
  const ModelShape model = small_model();
  const ClusterView view = cluster(1);
  const CostModel costs(view);
  const std::atomic<bool> stop{true};
  SearchOptions options;
  options.stop = &stop;
  const auto result = rank_plans(model, costs, nullptr, small_space(model, view), options);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().kind, ErrorKind::kInterrupted);
}

// Formats on the wire and what exchanges hold are the same for all plans: with a share above what the law of overlap says of the device,
// and with one below it.
TEST(Search, BoundIsNeverAboveTheReplayWithFormatsAndShares) {
  const ModelShape model = small_model();
  const ClusterView view = cluster(2);
  const CostModel costs(view);
  SearchSpace space = small_space(model, view);
  space.tp = {1};
  space.pp = {1, 2};
  space.esp = {1};
  space.micro_batch = {1};
  space.zero_dense = space.zero_expert = {ZeroStage::kOptimizer};
  space.moe_schedule = {"pipemoe", "schemoe", "fastermoe", "comet"};
  space.moe_dispatch_format = WireFormat::kFp8;
  for (const double share : {0.02, 0.4}) {
    space.comm_sm_share = share;
    const RankResult all = rank_all(model, costs, space, 1'000'000);
    ASSERT_GT(all.plans.size(), 50U);
    for (const RankedPlan& ranked : all.plans) {
      EXPECT_EQ(ranked.plan.moe_dispatch_format, WireFormat::kFp8);
      EXPECT_EQ(ranked.plan.comm_sm_share, share);
      EXPECT_LE(ranked.bound.value(), ranked.metrics.step_time.value() * (1 + 1e-9))
          << run_name(ranked.plan) << ' ' << ranked.plan.pipeline << ' ' << ranked.plan.moe_schedule;
    }
  }
}

// The algorithm of the token exchange is a dimension: each plan is found with each, the bound holds, and one without partners counts once.
TEST(Search, LooksAtTheAlgorithmsOfTheTokenExchange) {
  const ModelShape model = small_model();
  const ClusterView view = cluster(2);
  const CostModel costs(view);
  SearchSpace space = small_space(model, view);
  space.tp = {1};
  space.pp = {1};
  space.ep = {1, 16};
  space.esp = {1};
  space.moe_schedule = {"megatron-a2a"};
  space.zero_dense = {ZeroStage::kOptimizer};
  space.zero_expert = {ZeroStage::kOptimizer};
  const RankResult one = rank_all(model, costs, space, 1'000'000);
  space.all_to_all = {exchange_algorithms().begin(), exchange_algorithms().end()};
  const RankResult all = rank_all(model, costs, space, 1'000'000);
  const auto count = [](const RankResult& result, ExchangeAlgorithm algorithm, int ep) {
    return std::count_if(result.plans.begin(), result.plans.end(), [&](const RankedPlan& ranked) {
      return ranked.plan.all_to_all == algorithm && ranked.plan.sizes().ep == ep;
    });
  };
  for (const ExchangeAlgorithm algorithm : exchange_algorithms()) {
    EXPECT_GT(count(all, algorithm, 16), 0);
    EXPECT_EQ(count(all, algorithm, 16), count(one, ExchangeAlgorithm::kLinear, 16));
    EXPECT_EQ(count(all, algorithm, 1), algorithm == ExchangeAlgorithm::kLinear ? count(one, algorithm, 1) : 0);
  }
  for (const RankedPlan& ranked : all.plans)
    EXPECT_LE(ranked.bound.value(), ranked.metrics.step_time.value() * (1 + 1e-9));
  EXPECT_EQ(all.certificate.considered, 5 * one.certificate.considered);
}

}  // namespace
}  // namespace moesim
