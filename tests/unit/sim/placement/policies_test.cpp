// What every policy of the list promises (policy.hpp), on random counts and models.
#include "sim/placement/policy.hpp"

#include <algorithm>
#include <set>

#include "placement_testing.hpp"
#include "sim/placement/replay.hpp"

namespace moesim {
namespace {

struct PolicyCase {
  int devices;
  int per_node;
  int experts;
  int spare;
  ExchangeRounds rounds;
};
const std::vector<PolicyCase> kCases = {{4, 4, 8, 0, ExchangeRounds::kFused},    {8, 4, 16, 1, ExchangeRounds::kFused},
                                        {8, 2, 12, 2, ExchangeRounds::kPerSlot}, {6, 3, 8, 0, ExchangeRounds::kFused},
                                        {8, 4, 8, 0, ExchangeRounds::kPerSlot},  {16, 8, 32, 1, ExchangeRounds::kFused},
                                        {1, 1, 4, 1, ExchangeRounds::kFused}};

LayerTimeModel model_of(const PolicyCase& c) {
  LayerTimeModel model = two_tier_model(c.devices, c.per_node, 1, 2);
  model.rounds = c.rounds;
  model.shadow = Seconds(800);
  return model;
}

TEST(PlacementPolicies, AreListedOnceAndFound) {
  std::set<std::string_view> names;
  for (const PlacementPolicy* policy : placement_policies()) {
    EXPECT_TRUE(names.insert(policy->name()).second);
    EXPECT_EQ(*find_placement_policy(policy->name()), policy);
    EXPECT_FALSE(policy->description().empty());
  }
  const auto unknown = find_placement_policy("greddy");
  ASSERT_FALSE(unknown.has_value());
  EXPECT_NE(unknown.error().what.find("greedy"), std::string::npos);
}

TEST(PlacementPolicies, KeepTheSlotsAndLoseNoExpert) {
  for (const PlacementPolicy* policy : placement_policies())
    for (const PolicyCase& c : kCases) {
      const LayerTimeModel model = model_of(c);
      PlacementSizes sizes{c.devices, c.experts, 0};
      sizes.slots_per_device = sizes.least_slots_per_device() + c.spare;
      PlacementDecision current{ExpertPlacement::contiguous(sizes), {}, TokenSplit::kLocality};
      for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        const std::vector<double> counts = random_counts(c.devices, c.experts, seed).real();
        const PlacementQuestion question{model, {counts, c.devices, c.experts}, current, 1, 0};
        const PlacementDecision proposal = policy->propose(question);
        EXPECT_EQ(proposal, policy->propose(question)) << policy->name();
        EXPECT_EQ(proposal.placement.sizes(), sizes) << policy->name();
        for (int e = 0; e < c.experts; ++e) EXPECT_GE(proposal.placement.copies(e), 1) << policy->name();
        EXPECT_TRUE(std::is_sorted(proposal.shadowed.begin(), proposal.shadowed.end()));
        for (const std::int32_t e : proposal.shadowed) EXPECT_TRUE(e >= 0 && e < c.experts);
        current = proposal;
      }
    }
}

TEST(PlacementPolicies, NothingRoutedIsNoReasonToFail) {
  const LayerTimeModel model = two_tier_model(4, 2, 1, 1);
  const std::vector<double> counts(4 * 8, 0.0);
  for (const PlacementPolicy* policy : placement_policies()) {
    const PlacementDecision current{ExpertPlacement::contiguous({4, 8, 3}), {}, TokenSplit::kLocality};
    EXPECT_EQ(policy->propose({model, {counts, 4, 8}, current, 1, 0}).placement.sizes(), current.placement.sizes());
  }
}

// `steps` records, 10 iterations apart, of 2 layers or so and 2 micro-batches; each the counts of the seed that `seed_of` gives it.
template <class SeedOf>
SelectionTrace made_trace(const PolicyCase& c, int steps, const SeedOf& seed_of, int layers = 2) {
  std::vector<std::int64_t> iterations;
  for (int step = 0; step < steps; ++step) iterations.push_back(1 + 10 * step);
  std::vector<std::int32_t> ranks;
  for (int d = 0; d < c.devices; ++d) ranks.push_back(d);
  std::vector<std::int32_t> labels;
  for (int layer = 0; layer < layers; ++layer) labels.push_back(layer);
  SelectionTrace trace(iterations, labels, {0, 1}, ranks, c.experts);
  for (int step = 0; step < steps; ++step)
    for (int layer = 0; layer < layers; ++layer)
      for (int micro_batch = 0; micro_batch < 2; ++micro_batch) {
        const OwnedCounts counts = random_counts(c.devices, c.experts, seed_of(step, layer));
        for (int d = 0; d < c.devices; ++d) {
          const auto row = counts.view().of(d);
          std::copy(row.begin(), row.end(), trace.counts(step, layer, micro_batch, d).begin());
        }
      }
  return trace;
}

ReplayTrace mapped(const SelectionTrace& trace, const PolicyCase& c) {
  Result<ReplayTrace> result = ReplayTrace::map(trace, {.devices = c.devices, .top_k = 1, .tokens_per_device = 4000});
  if (!result) ADD_FAILURE() << result.error().what;
  return result ? std::move(*result) : ReplayTrace();
}

// While the gate chooses the same again and again, what was promised is what comes.
TEST(PlacementPolicies, NeverWorseThanStaticByMoreThanTheSwitchCost) {
  for (const PolicyCase& c : kCases)
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      const ReplayTrace trace = mapped(made_trace(c, 6, [&](int, int layer) { return seed * 10 + layer; }), c);
      const LayerTimeModel model = model_of(c);
      for (const PredictorKind predictor : {PredictorKind::kLast, PredictorKind::kLinear}) {
        PlacementReplayOptions options;
        options.spare_slots = c.spare;
        options.predictor = predictor;
        const PolicyReplay still = replay_policy(trace, model, *placement_policies().front(), options);
        EXPECT_EQ(still.changes, 0);
        for (const PlacementPolicy* policy : placement_policies()) {
          const PolicyReplay replay = replay_policy(trace, model, *policy, options);
          const double iterations = 10.0 * trace.steps();
          EXPECT_LE(replay.mean_iteration.value() * iterations,
                    still.mean_iteration.value() * iterations * (1 + 1e-9) + replay.switching.value())
              << policy->name();
          // The rule counts the switch itself, so a change pays within one period.
          EXPECT_LE(replay.mean_iteration.value(), still.mean_iteration.value() * (1 + 1e-9)) << policy->name();
        }
      }
    }
}

// Where the gate chooses anew all the time a decision may be wrong, which shows one record later. Whatever has been lost to static at any
// time, switches apart, was lost in single intervals between records: one for each time that the policy was stopped, and the last.
TEST(PlacementPolicies, DriftCostsOneIntervalForEachStop) {
  int stopped = 0;
  int trusted_too_much = 0;
  for (const PolicyCase& c : kCases)
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      const auto seeds = [&](int step, int) { return seed * 100 + static_cast<std::uint64_t>(step); };
      const ReplayTrace trace = mapped(made_trace(c, 12, seeds, 1), c);
      const LayerTimeModel model = model_of(c);
      for (const PredictorKind predictor : {PredictorKind::kLast, PredictorKind::kLinear}) {
        PlacementReplayOptions options;
        options.spare_slots = c.spare;
        options.predictor = predictor;
        const PolicyReplay still = replay_policy(trace, model, *placement_policies().front(), options);
        const auto lost = [&](const PolicyReplay& replay, std::size_t step) {
          return 10 * (replay.steps[step].iteration - still.steps[step].iteration).value();
        };
        for (const PlacementPolicy* policy : placement_policies()) {
          options.accept = AcceptRule::kTime;
          const PolicyReplay watched = replay_policy(trace, model, *policy, options);
          double sum = 0;
          double most = 0;
          for (std::size_t step = 0; step < watched.steps.size(); ++step) {
            sum += lost(watched, step);
            most = std::max(most, lost(watched, step));
            EXPECT_LE(sum, static_cast<double>(watched.stops + 1) * most + 1e-6) << policy->name();
          }
          stopped += watched.stops > 0 ? 1 : 0;
          options.accept = AcceptRule::kPromise;
          const PolicyReplay trusting = replay_policy(trace, model, *policy, options);
          double sum_of_trusting = 0;
          double most_of_trusting = 0;
          for (std::size_t step = 0; step < trusting.steps.size(); ++step) {
            sum_of_trusting += lost(trusting, step);
            most_of_trusting = std::max(most_of_trusting, lost(trusting, step));
          }
          trusted_too_much += sum_of_trusting > 2 * most_of_trusting && sum_of_trusting > sum ? 1 : 0;
        }
      }
    }
  EXPECT_GT(stopped, 0);
  EXPECT_GT(trusted_too_much, 0);  // without looking back more is lost
}

TEST(PlacementPolicies, NoneBeatsTheOracle) {
  for (const PolicyCase& c : kCases) {
    const ReplayTrace trace = mapped(made_trace(c, 5, [](int step, int layer) { return 100 + 2 * step + layer; }), c);
    const LayerTimeModel model = model_of(c);
    PlacementReplayOptions options;
    options.spare_slots = c.spare;
    const ReplayBounds bounds = replay_bounds(trace, model, options);
    EXPECT_LE(bounds.hot_expert, bounds.contiguous * (1 + 1e-12));
    for (const AcceptRule accept : {AcceptRule::kTime, AcceptRule::kLoad}) {
      options.accept = accept;
      for (const PolicyReplay& replay : replay_policies(trace, model, placement_policies(), options, 1))
        for (std::size_t step = 0; step < replay.steps.size(); ++step)
          EXPECT_GE(replay.steps[step].iteration.value(), bounds.oracle[step].value() * (1 - 1e-9)) << replay.policy;
    }
  }
}

TEST(PlacementPolicies, ThreadsChangeNothing) {
  const PolicyCase c = kCases[1];
  const ReplayTrace trace = mapped(made_trace(c, 5, [](int step, int layer) { return 7 + 2 * step + layer; }), c);
  const LayerTimeModel model = model_of(c);
  PlacementReplayOptions options;
  options.spare_slots = c.spare;
  const auto one = replay_policies(trace, model, placement_policies(), options, 1);
  const auto three = replay_policies(trace, model, placement_policies(), options, 3);
  for (std::size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(one[i].policy, three[i].policy);
    EXPECT_EQ(one[i].mean_iteration, three[i].mean_iteration);
    EXPECT_EQ(one[i].moves, three[i].moves);
  }
}

}  // namespace
}  // namespace moesim
