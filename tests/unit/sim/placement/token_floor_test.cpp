// What no permutation can undercut where a token is sent once to each node, against all permutations of small cases.
#include "sim/placement/token_floor.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include "placement_testing.hpp"
#include "sim/placement/oracle.hpp"
#include "sim/placement/token_exchange.hpp"

namespace moesim {
namespace {

TokenSet tokens_of_rows(const std::vector<std::pair<std::vector<std::int32_t>, int>>& rows) {
  TokenSet set;
  set.top_k = static_cast<int>(rows.front().first.size());
  for (const auto& [experts, times] : rows)
    for (int i = 0; i < times; ++i) {
      set.experts.insert(set.experts.end(), experts.begin(), experts.end());
      set.sources.push_back(0);
    }
  set.seen = static_cast<std::int64_t>(set.size());
  return set;
}

// As in the header.
TEST(TokenFloor, WorkedExample) {
  const TokenSet tokens = tokens_of_rows({{{0, 1}, 10}, {{2, 3}, 10}, {{0, 2}, 2}});
  EXPECT_EQ(least_visits(tokens, 4, 2), 24);
  EXPECT_EQ(least_visits(tokens, 4, 4), 22);  // all in one part: one visit each
  EXPECT_EQ(least_visits(tokens, 4, 1), 44);
  const NamedExperts named(tokens, 4, {true});
  EXPECT_EQ(named.tokens(), 22);
  EXPECT_EQ(named.most_named(2), 24);
  EXPECT_EQ(named.least_leaving(2), 10);
  EXPECT_EQ(named.least_leaving(4), 0);
  EXPECT_EQ(named.most_touching(1), 12);
  EXPECT_EQ(named.most_touching(2), 22);
  EXPECT_EQ(NamedExperts(tokens, 4, {false}).tokens(), 0);
}

// Six experts in parts of four: at least two parts, however often pairs stand together. 10 tokens of all six experts have 15 pairs each;
// an expert has three neighbours, 6 * 3 / 2 = 9 pairs a token. From six visits: 1 + 1 + 1 + 3 pairs spare four of them.
TEST(TokenFloor, ATokenThatIsTooLargeVisitsSeveralParts) {
  EXPECT_EQ(least_visits(tokens_of_rows({{{0, 1, 2, 3, 4, 5}, 10}}), 6, 4), 20);
  // Repeated and dropped choices are none: two experts each, of which pairs stand together.
  EXPECT_EQ(least_visits(tokens_of_rows({{{0, 1, 1, -1}, 10}}), 6, 4), 10);
}

// Tokens in `domains` of experts, so that there is something to find, from all devices.
TokenSet clustered_tokens(int devices, int experts, int top_k, std::size_t count, Pcg32& random) {
  TokenSet set;
  set.top_k = top_k;
  for (std::size_t token = 0; token < count; ++token) {
    const std::uint32_t first = random.below(static_cast<std::uint32_t>(experts));
    for (int i = 0; i < top_k; ++i) {
      const bool near = random.uniform() < 0.7;
      const std::uint32_t id = near ? (first * 7 + random.below(2)) % static_cast<std::uint32_t>(experts)
                                    : random.below(static_cast<std::uint32_t>(experts) + 1);
      set.experts.push_back(static_cast<std::int32_t>(id) -
                            (id == static_cast<std::uint32_t>(experts) ? experts + 1 : 0));
    }
    set.sources.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(devices))));
  }
  set.seen = static_cast<std::int64_t>(count);
  return set;
}

struct Small {
  int devices;
  int per_node;
  int slots;
  int top_k;
};

// Counts as the tokens have them, by source.
OwnedCounts counted(const TokenSet& tokens, int devices, int experts) {
  OwnedCounts counts{std::vector<std::int32_t>(static_cast<std::size_t>(devices * experts), 0), devices, experts};
  for (std::size_t token = 0; token < tokens.size(); ++token)
    for (const std::int32_t expert : tokens.of(token))
      if (expert >= 0) ++counts.counts[static_cast<std::size_t>(tokens.sources[token] * experts + expert)];
  return counts;
}

// All ways to deal the experts to the devices: order inside a device does not matter.
template <class Visit>
void each_placement(const PlacementSizes& sizes, const Visit& visit) {
  std::vector<std::int32_t> slots(static_cast<std::size_t>(sizes.slots()));
  std::iota(slots.begin(), slots.end(), 0);
  const int each = sizes.slots_per_device;
  do {
    bool ascending = true;
    for (std::size_t s = 1; s < slots.size(); ++s)
      ascending = ascending && (static_cast<int>(s) % each == 0 || slots[s - 1] < slots[s]);
    if (ascending) visit(placed(sizes, slots));
  } while (std::next_permutation(slots.begin(), slots.end()));
}

TEST(TokenFloor, NoPermutationTakesLessThanTheOracle) {
  const std::vector<Small> cases = {{4, 2, 1, 2}, {2, 1, 3, 2}, {2, 1, 3, 4}, {4, 1, 1, 3}, {4, 2, 2, 3}, {3, 3, 2, 3}};
  double sum = 0;
  double without = 0;  // exchanges
  int count = 0;
  for (const Small& c : cases)
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
      const PlacementSizes sizes{c.devices, c.devices * c.slots, c.slots};
      LayerTimeModel model = two_tier_model(c.devices, c.per_node, 1, seed % 2 == 0 ? 2 : 0.3);
      model.shadow = Seconds(40);
      Pcg32 random(seed);
      const TokenSet tokens = clustered_tokens(c.devices, sizes.experts, c.top_k, 24, random);
      const OwnedCounts counts = counted(tokens, c.devices, sizes.experts);
      OracleTimer oracle(model, c.slots);
      const double bound = oracle.time(counts.view(), oracle.needs_of(tokens, sizes.experts)).value();
      LayerTimer timer(model);
      double least = std::numeric_limits<double>::infinity();
      double copies = 0;
      for (const std::int32_t number : counts.counts) copies += number;
      each_placement(sizes, [&](const ExpertPlacement& placement) {
        for (int shadowed = -1; shadowed < 2; ++shadowed) {
          PlacementDecision decision{placement, {}, TokenSplit::kLocality};
          if (shadowed >= 0) decision.shadowed = {shadowed};
          LayerTime time = timer.time(counts.view(), decision);
          time.exchange = Seconds(model.exchanges * TokenExchange(model, tokens, decision).seconds(copies / c.top_k));
          least = std::min(least, time.total().value());
        }
      });
      ASSERT_LE(bound, least * (1 + 1e-12)) << c.devices << " devices, " << c.slots << " slots, seed " << seed;
      sum += bound / least;
      model.exchanges = 0;
      without += OracleTimer(model, c.slots).time(counts.view()).value() / least;
      ++count;
    }
  std::printf("the oracle over the best permutation: %.3f in the mean, %.3f without exchanges\n", sum / count,
              without / count);
  EXPECT_GT(sum / count, 0.6);
  EXPECT_LT(without / count, 0.45);
}

}  // namespace
}  // namespace moesim
