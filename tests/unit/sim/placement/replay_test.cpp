#include "sim/placement/replay.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>

#include "placement_testing.hpp"
#include "sim/placement/figure.hpp"
#include "sim/placement/layer_times_file.hpp"

namespace moesim {
namespace {

// Two devices, experts {0, 1 | 2, 3}, the first two four times as popular; records at iterations 0, 10 and 20, all alike.
// Contiguous: 16 rows on device 0, which receives 8: 16 + 4 * 8 = 48 s. Greedy: {0, 3 | 1, 2}, 10 rows, 5 received: 30 s.
SelectionTrace two_hot_experts() {
  SelectionTrace trace({0, 10, 20}, {0}, {0}, {0, 1}, 4);
  for (int step = 0; step < 3; ++step)
    for (int rank = 0; rank < 2; ++rank) {
      const auto row = trace.counts(step, 0, 0, rank);
      row[0] = row[1] = 4;
      row[2] = row[3] = 1;
    }
  return trace;
}

ReplayTrace mapped_trace(const SelectionTrace& trace, const ReplayTraceRequest& request) {
  Result<ReplayTrace> result = ReplayTrace::map(trace, request);
  if (!result) ADD_FAILURE() << result.error().what;
  return result ? std::move(*result) : ReplayTrace();
}

const PlacementPolicy& policy_named(std::string_view name) { return **find_placement_policy(name); }

TEST(Replay, WorkedExample) {
  const ReplayTrace trace = mapped_trace(two_hot_experts(), {.devices = 2, .top_k = 2});
  EXPECT_EQ(trace.tokens_per_device(), 5);
  const LayerTimeModel model = one_tier_model(2);
  const PlacementReplayOptions options;  // every 10 iterations
  const PolicyReplay still = replay_policy(trace, model, policy_named("contiguous"), options);
  EXPECT_EQ(still.mean_iteration, Seconds(48));
  EXPECT_NEAR(still.max_over_mean, 1.6, 1e-12);
  const PolicyReplay greedy = replay_policy(trace, model, policy_named("greedy"), options);
  EXPECT_EQ(greedy.decisions, 2);
  EXPECT_EQ(greedy.changes, 1);
  EXPECT_EQ(greedy.moves, 2);
  EXPECT_EQ(greedy.moved, Bytes(16));
  EXPECT_EQ(greedy.switching, Seconds(8));
  EXPECT_EQ(greedy.steps[0].iteration, Seconds(48));
  EXPECT_EQ(greedy.steps[1].iteration, Seconds(30));
  EXPECT_EQ(greedy.steps[1].switching, Seconds(8));
  EXPECT_NEAR(greedy.mean_iteration.value(), (480 + 8 + 300 + 300) / 30.0, 1e-12);
}

TEST(Replay, PeriodHysteresisAndPriceDecide) {
  const ReplayTrace trace = mapped_trace(two_hot_experts(), {.devices = 2, .top_k = 2});
  LayerTimeModel model = one_tier_model(2);
  PlacementReplayOptions options;
  options.period = 20;
  EXPECT_EQ(replay_policy(trace, model, policy_named("greedy"), options).steps[1].iteration, Seconds(48));
  EXPECT_EQ(replay_policy(trace, model, policy_named("greedy"), options).steps[2].iteration, Seconds(30));
  options.period = 10;
  options.hysteresis = 1.7;  // 48 / 30 is less
  EXPECT_EQ(replay_policy(trace, model, policy_named("greedy"), options).changes, 0);
  options.hysteresis = 1;
  model.expert.weights = Bytes(200);  // 205 s to switch, 180 s to gain in a period
  EXPECT_EQ(replay_policy(trace, model, policy_named("greedy"), options).changes, 0);
  options.accept = AcceptRule::kLoad;  // which does not look at that
  EXPECT_EQ(replay_policy(trace, model, policy_named("greedy"), options).changes, 1);
}

TEST(Replay, TuningFindsThePeriodThatPays) {
  const ReplayTrace trace = mapped_trace(two_hot_experts(), {.devices = 2, .top_k = 2});
  const LayerTimeModel model = one_tier_model(2);
  const TunedReplay best =
      tune_policy(trace, model, policy_named("greedy"), {}, {.periods = {20, 10}, .hysteresis = {2, 1, 1.1}}, 2);
  EXPECT_EQ(best.period, 10);
  EXPECT_EQ(best.hysteresis, 1);
  EXPECT_EQ(default_tuning_space(trace).periods, (std::vector<std::int64_t>{10}));
}

TEST(Replay, BoundsNameTheHotExpert) {
  const ReplayTrace trace = mapped_trace(two_hot_experts(), {.devices = 2, .top_k = 2});
  const ReplayBounds bounds = replay_bounds(trace, one_tier_model(2), {});
  EXPECT_NEAR(bounds.contiguous, 1.6, 1e-12);
  EXPECT_EQ(bounds.hot_expert, 1);  // 8 of 20 copies fit on one of two devices
  EXPECT_EQ(bounds.oracle.size(), 3U);
}

TEST(Replay, ATraceOfOtherRanksIsMapped) {
  const ReplayTrace trace = mapped_trace(two_hot_experts(), {.devices = 4, .top_k = 2});
  EXPECT_EQ(trace.devices(), 4);
  EXPECT_EQ(trace.tokens_per_device(), 2);
  std::int64_t sum = 0;
  for (const std::int32_t count : trace.counts(1, 0, 0).counts) sum += count;
  EXPECT_EQ(sum, 4 * 2 * 2);
  EXPECT_FALSE(trace.notes().empty());
  EXPECT_FALSE(ReplayTrace::map(SelectionTrace({0}, {0}, {0}, {0, 1}, 4), {.devices = 2, .top_k = 2}).has_value());
  EXPECT_FALSE(ReplayTrace::map(two_hot_experts(), {.devices = 64, .top_k = 2}).has_value());
}

// Times that a fit must find, and what is wrong with a file, by line.
// Counts are kept in 32 bits: 4e9 copies of a rank are refused, not wrapped around; nor is memory asked for that nobody has.
TEST(Replay, WhatIsTooLargeIsRefused) {
  SelectionTrace trace({0, 1}, {0}, {0}, {0, 1}, 2);
  for (int step = 0; step < 2; ++step)
    for (int rank = 0; rank < 2; ++rank) trace.counts(step, 0, 0, rank)[0] = 4'000'000'000;
  const auto what = [&trace](const ReplayTraceRequest& request) {
    const Result<ReplayTrace> mapped = ReplayTrace::map(trace, request);
    return mapped ? std::string() : mapped.error().what;
  };
  EXPECT_THAT(what({.devices = 2, .top_k = 1}), testing::HasSubstr("4000000000 tokens"));
  EXPECT_THAT(what({.devices = 2, .top_k = 1, .tokens_per_device = 10, .micro_batches = 2'000'000'000}),
              testing::HasSubstr("would need more than 8 GiB"));
}

TEST(LayerTimesFile, IsFittedAndItsFaultsAreNamed) {
  std::vector<std::int64_t> iterations;
  for (int i = 0; i < 30; ++i) iterations.push_back(10 * i);
  SelectionTrace recorded(iterations, {0, 1}, {0}, {0, 1, 2, 3}, 8);
  std::string text = "iteration,layer,time_s\n";
  LayerTimeModel laws = one_tier_model(4);
  laws.row = Bytes(4);
  laws.fixed = Seconds(500);
  for (int step = 0; step < 30; ++step)
    for (int layer = 0; layer < 2; ++layer) {
      const OwnedCounts counts = random_counts(4, 8, static_cast<std::uint64_t>(2 * step + layer + 1));
      for (int rank = 0; rank < 4; ++rank) {
        const auto row = counts.view().of(rank);
        // As many tokens in every row, so that they are taken over as recorded; the last expert takes what is left.
        auto cells = recorded.counts(step, layer, 0, rank);
        std::uint32_t left = 40'000;
        for (std::size_t e = 0; e < 7; ++e) {
          cells[e] = std::min(left, static_cast<std::uint32_t>(row[e]));
          left -= cells[e];
        }
        cells[7] = left;
      }
    }
  const ReplayTrace trace = mapped_trace(recorded, {.devices = 4, .top_k = 1});
  LayerTimer timer(laws);
  const PlacementDecision still{ExpertPlacement::contiguous({4, 8, 2}), {}, TokenSplit::kEven};
  for (int step = 0; step < 30; ++step)
    for (int layer = 0; layer < 2; ++layer)
      text += fmt::format("{},{},{:.17g}\n", 10 * step, layer,
                          timer.time(trace.counts(step, layer, 0), still).total().value());
  const Result<LayerFit> fit = fit_layer_times_text(text, "times.csv", trace, laws);
  ASSERT_TRUE(fit) << fit.error().what;
  EXPECT_LT(fit->mean_error, 1e-6);
  EXPECT_EQ(fit->model.row, Bytes(4));
  EXPECT_NEAR(fit->model.tiers.front().in_s_per_byte.front(), 1, 1e-6);
  EXPECT_EQ(fit->model.expert.weights, laws.expert.weights);
  const auto fault = [&](const std::string& content) {
    const Result<LayerFit> refused = fit_layer_times_text(content, "times.csv", trace, laws);
    return refused ? std::string("taken") : refused.error().where + ": " + refused.error().what;
  };
  EXPECT_EQ(fault("iteration,layer\n0,0\n"), "times.csv: there is no column 'time_s'");
  EXPECT_EQ(fault("iteration,layer,time_s\n5,0,1\n"), "times.csv:2: iteration 5 was not recorded");
  EXPECT_EQ(fault("iteration,layer,time_s\n0,2,1\n"), "times.csv:2: layer 2: there are 2 MoE layers");
  EXPECT_EQ(fault("iteration,layer,time_s\n0,0,-1\n"), "times.csv:2: a time must be above 0");
  EXPECT_EQ(fault("iteration,layer,time_s\n0,,1\n"), "times.csv:2: iteration, layer or time_s is empty");
}

TEST(Replay, TheFigureNamesEveryLine) {
  const ReplayTrace trace = mapped_trace(two_hot_experts(), {.devices = 2, .top_k = 2});
  const LayerTimeModel model = one_tier_model(2);
  const std::vector<PolicyReplay> replays = replay_policies(trace, model, placement_policies(), {}, 1);
  const std::string figure = replay_figure("a < b", trace, replays, replay_bounds(trace, model, {}));
  for (const PlacementPolicy* policy : placement_policies())
    EXPECT_NE(figure.find(std::string(policy->name())), std::string::npos);
  EXPECT_NE(figure.find("oracle"), std::string::npos);
  EXPECT_NE(figure.find("a &lt; b"), std::string::npos);
  EXPECT_NE(figure.find("placements change"), std::string::npos);
}

}  // namespace
}  // namespace moesim
