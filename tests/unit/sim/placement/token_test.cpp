// What tokens choose together: where that sends them, and placements that look at it.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "placement_testing.hpp"
#include "sim/placement/co_activation.hpp"
#include "sim/placement/replay.hpp"

namespace moesim {
namespace {

PlacementDecision decided(ExpertPlacement placement) { return {std::move(placement), {}, TokenSplit::kLocality}; }

TokenSet token_set(const std::vector<std::vector<std::int32_t>>& rows, std::vector<std::int32_t> sources) {
  TokenSet set;
  set.top_k = static_cast<int>(rows.front().size());
  for (const auto& row : rows) set.experts.insert(set.experts.end(), row.begin(), row.end());
  set.sources = std::move(sources);
  set.seen = static_cast<std::int64_t>(rows.size());
  return set;
}

TokenSet random_tokens(int devices, int experts, int top_k, std::size_t count, std::uint64_t seed) {
  Pcg32 random(seed);
  TokenSet set;
  set.top_k = top_k;
  for (std::size_t token = 0; token < count; ++token) {
    for (int i = 0; i < top_k; ++i) {
      // Now and then a dropped choice, or the same expert twice.
      const std::uint32_t id = random.below(static_cast<std::uint32_t>(experts) + 1);
      set.experts.push_back(static_cast<std::int32_t>(id) - 1);
    }
    set.sources.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(devices))));
  }
  set.seen = static_cast<std::int64_t>(count);
  return set;
}

TEST(TokenSpread, WorkedExamples) {
  const std::vector<std::int32_t> nodes{0, 1};
  const TokenSet tokens = token_set({{0, 1}, {0, 1}, {2, 3}}, {0, 0, 1});
  const TokenSpread together = token_spread(tokens, decided(ExpertPlacement::contiguous({2, 4, 2})), nodes);
  EXPECT_EQ(together.nodes, 1);
  EXPECT_EQ(together.devices, 1);
  const TokenSpread apart = token_spread(tokens, decided(placed({2, 4, 2}, {0, 2, 1, 3})), nodes);
  EXPECT_EQ(apart.nodes, 2);
  EXPECT_EQ(apart.nodes_error, 0);
  // Four devices on two nodes; expert 1 is shadowed, one choice dropped.
  PlacementDecision shadowed = decided(ExpertPlacement::contiguous({4, 4, 1}));
  shadowed.shadowed = {1};
  const std::vector<std::int32_t> pairs{0, 0, 1, 1};
  const TokenSpread few = token_spread(token_set({{0, 1, 2}, {2, 3, -1}}, {0, 0}), shadowed, pairs);
  EXPECT_EQ(few.devices, 2);
  EXPECT_EQ(few.nodes, 1.5);
}

// Two of eight rows, on one and on two nodes: a variance of 1/2, so the mean of two has 1/4, and 6/8 of it are not known.
TEST(TokenSpread, ErrorOfASample) {
  TokenSet tokens = token_set({{0, 1}, {0, 2}}, {0, 0});
  tokens.seen = 8;
  const std::vector<std::int32_t> nodes{0, 1};
  const TokenSpread spread = token_spread(tokens, decided(ExpertPlacement::contiguous({2, 4, 2})), nodes);
  EXPECT_EQ(spread.nodes, 1.5);
  EXPECT_DOUBLE_EQ(spread.nodes_error, std::sqrt(0.5 / 2 * 0.75));
}

// Ports of 1 s a token inside a node, 10 s between nodes.
TEST(TokenExchange, WorkedExamples) {
  const LayerTimeModel slow = two_tier_model(4, 2, 1, 10);
  const PlacementDecision in_order = decided(ExpertPlacement::contiguous({4, 4, 1}));
  // 0 -> 1, 0 -> 2, 2 -> 3.
  const TokenSet one = token_set({{0, 1, 3}}, {0});
  EXPECT_EQ(TokenExchange(slow, one, in_order).seconds(1), 10);
  EXPECT_EQ(TokenExchange(slow, one, in_order).seconds(3), 30);
  const LayerTimeModel fast = two_tier_model(4, 2, 1, 0.25);
  EXPECT_EQ(TokenExchange(fast, one, in_order).seconds(1), 1);
  // Both experts of the other node for one token over the network; as two copies it would be two.
  const TokenSet both = token_set({{0, 2, 3}}, {0});
  EXPECT_EQ(TokenExchange(slow, both, in_order).seconds(1), 10);
  // Of device 1 it enters by device 3, and goes from there to 2.
  const TokenSet other = token_set({{2}, {2}}, {1, 1});
  EXPECT_EQ(TokenExchange(fast, other, in_order).seconds(2), 2);
  // All at home.
  EXPECT_EQ(TokenExchange(slow, token_set({{0}, {3}}, {0, 3}), in_order).seconds(2), 0);
}

// The same counted by sets.
double counted_seconds(const LayerTimeModel& model, const TokenSet& tokens, const PlacementDecision& decision) {
  PortLoads ports(model);
  std::vector<std::vector<int>> of_node;
  for (int d = 0; d < model.devices(); ++d) {
    const auto node = static_cast<std::size_t>(model.node_of_device[static_cast<std::size_t>(d)]);
    if (of_node.size() <= node) of_node.resize(node + 1);
    of_node[node].push_back(d);
  }
  for (std::size_t token = 0; token < tokens.size(); ++token) {
    const int source = tokens.sources[token];
    const int home = model.node_of_device[static_cast<std::size_t>(source)];
    std::set<int> devices;
    for (const std::int32_t expert : tokens.of(token))
      if (expert >= 0) devices.insert(decision.placement.device_of_slot(decision.placement.slots_of(expert).front()));
    std::set<int> nodes;
    for (const int device : devices) {
      const int node = model.node_of_device[static_cast<std::size_t>(device)];
      const int place = source - of_node[static_cast<std::size_t>(home)].front();
      const int enters =
          node == home ? source : of_node[static_cast<std::size_t>(node)][static_cast<std::size_t>(place)];
      if (node != home && nodes.insert(node).second) ports.add(source, enters, 1);
      if (enters != device) ports.add(enters, device, 1);
    }
  }
  return ports.seconds();
}

TEST(TokenExchange, FollowsSwapsExactly) {
  const LayerTimeModel model = two_tier_model(8, 4, 1, 1.5);
  const PlacementSizes sizes{8, 24, 4};  // with empty slots
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const TokenSet tokens = random_tokens(8, 24, 4, 200, seed);
    std::vector<std::int32_t> slots(32, kEmptySlot);
    for (std::int32_t e = 0; e < 24; ++e) slots[static_cast<std::size_t>(e + e / 3)] = e;
    TokenExchange followed(model, tokens, decided(placed(sizes, slots)));
    const double at_first = followed.seconds(200);
    Pcg32 random(seed);
    std::vector<std::pair<std::size_t, std::size_t>> swaps;
    for (int i = 0; i < 60; ++i) swaps.emplace_back(random.below(32), random.below(32));
    const auto swap = [&](std::size_t a, std::size_t b) {
      if (a == b) return;
      followed.swap(slots[a], static_cast<std::int32_t>(a / 4), slots[b], static_cast<std::int32_t>(b / 4));
      std::swap(slots[a], slots[b]);
    };
    for (const auto& [a, b] : swaps) swap(a, b);
    const PlacementDecision now = decided(placed(sizes, slots));
    EXPECT_EQ(followed.seconds(200), TokenExchange(model, tokens, now).seconds(200));
    EXPECT_NEAR(followed.seconds(200), counted_seconds(model, tokens, now), 1e-9);
    EXPECT_GE(followed.smoothed(200), followed.seconds(200));
    for (auto swapped = swaps.rbegin(); swapped != swaps.rend(); ++swapped) swap(swapped->second, swapped->first);
    EXPECT_EQ(followed.seconds(200), at_first);
  }
}

// 10 tokens {0, 1} and 10 {2, 3} of device 0: 20 rows on each of two devices, 4 exchanges of 10 or 20 s.
TEST(CoActivation, PutsTogetherWhatIsChosenTogether) {
  const LayerTimeModel model = two_tier_model(2, 1, 1, 1);
  std::vector<std::vector<std::int32_t>> rows(10, {0, 1});
  rows.resize(20, {2, 3});
  const TokenSet tokens = token_set(rows, std::vector<std::int32_t>(20, 0));
  const std::vector<double> counts{10, 10, 10, 10, 0, 0, 0, 0};
  const PredictedCounts predicted{counts, 2, 4};
  const ExpertPlacement apart = placed({2, 4, 2}, {0, 2, 1, 3});
  EXPECT_EQ(search_co_activation(model, predicted, tokens, apart, {.candidates = 0}).time, Seconds(20 + 4 * 20));
  const LocalSearchResult found = search_co_activation(model, predicted, tokens, apart, {.candidates = 64});
  EXPECT_EQ(found.time, Seconds(20 + 4 * 10));
  EXPECT_EQ(token_spread(tokens, decided(found.placement), model.node_of_device).nodes, 1);
}

TEST(CoActivation, NeverEndsWorseThanItBegan) {
  const LayerTimeModel model = two_tier_model(8, 4, 1, 2);
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const TokenSet tokens = random_tokens(8, 16, 3, 100, seed);
    const std::vector<double> counts = random_counts(8, 16, seed).real();
    const ExpertPlacement start = ExpertPlacement::contiguous({8, 16, 2});
    const auto found = [&](std::int64_t candidates) {
      return search_co_activation(model, {counts, 8, 16}, tokens, start, {.candidates = candidates});
    };
    EXPECT_LE(found(300).time, found(0).time);
    EXPECT_TRUE(found(300).placement.is_permutation());
    EXPECT_EQ(found(300).placement, found(300).placement);
  }
}

// Each of two devices has 5 tokens {0, 1} and 5 {2, 3} at iterations 0, 10 and 20; experts start as {0, 2 | 1, 3}, which equal counts give no
// reason to leave. 20 rows a device; a token goes to both devices, so 10 leave each: 20 + 4 * 10 = 60 s. Together 5 do: 40 s, after a
// switch of 8 s.
class TokenReplay : public testing::Test {
 protected:
  TokenReplay() {
    SelectionTrace trace({0, 10, 20}, {4}, {0}, {0, 1}, 4);
    TokenSample tokens;
    for (int step = 0; step < 3; ++step)
      for (std::int32_t rank = 0; rank < 2; ++rank) {
        for (std::uint32_t& count : trace.counts(step, 0, 0, rank)) count = 5;
        for (std::int64_t token = 0; token < 10; ++token) {
          const std::vector<std::int32_t> ids = token < 5 ? std::vector{0, 1} : std::vector{2, 3};
          EXPECT_TRUE(tokens.token({{10 * step, 4, 0, rank}, token, ids, {"test", 1}}));
        }
      }
    Result<ReplayTrace> mapped = ReplayTrace::map(trace, {.devices = 2, .top_k = 2});
    EXPECT_TRUE(mapped);
    trace_ = std::move(*mapped);
    bare_ = trace_;
    trace_.attach(trace, tokens);
    options_.start.expert_at = {{0, 2, 1, 3}};
    options_.dispatch = TokenDispatch::kOncePerNode;
    model_.shadow = Seconds(100);
  }
  [[nodiscard]] PolicyReplay played(std::string_view policy) const {
    return replay_policy(trace_, model_, **find_placement_policy(policy), options_);
  }
  ReplayTrace trace_, bare_;
  LayerTimeModel model_ = two_tier_model(2, 1, 1, 1);
  PlacementReplayOptions options_;
};

TEST_F(TokenReplay, CoActivationHelpsWhereCountsSayNothing) {
  const PolicyReplay greedy = played("greedy");
  EXPECT_EQ(greedy.changes, 0);
  EXPECT_EQ(greedy.mean_iteration, Seconds(60));
  ASSERT_TRUE(greedy.spread);
  EXPECT_EQ(greedy.spread->nodes, 2);
  const PolicyReplay together = played("co-activation");
  EXPECT_EQ(together.changes, 1);
  EXPECT_EQ(together.steps[0].iteration, Seconds(60));  // nothing is known before it
  EXPECT_EQ(together.steps[1].iteration, Seconds(40));
  EXPECT_EQ(together.switching, Seconds(8));
  EXPECT_NEAR(together.spread->nodes, 4.0 / 3, 1e-12);
  EXPECT_EQ(together.spread->nodes_error, 0);
  // Of its 10 tokens a device can keep 5, and does: nothing is left to gain.
  EXPECT_EQ(replay_bounds(trace_, model_, options_).mean_oracle, Seconds(40));
}

// Each copy by itself: 10 leave either device in both placements.
TEST_F(TokenReplay, NotWhereEachCopyIsSent) {
  options_.dispatch = TokenDispatch::kCopies;
  const PolicyReplay together = played("co-activation");
  EXPECT_EQ(together.changes, 0);
  EXPECT_EQ(together.mean_iteration, Seconds(60));
  EXPECT_EQ(together.spread->nodes, 2);
  trace_ = bare_;
  EXPECT_FALSE(played("co-activation").spread);
  EXPECT_EQ(played("co-activation").changes, 0);
}

}  // namespace
}  // namespace moesim
