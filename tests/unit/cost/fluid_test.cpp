#include "models/cost/flows/fluid.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace moesim {
namespace {

constexpr double kGigaUnit = 1e9;

std::int32_t add_batch(FluidNetwork& network, double bytes, double start, const std::vector<LinkUse>& uses) {
  return network.add(bytes, start, uses);
}

TEST(Fluid, TwoFlowsShareALinkWhileBothAreThere) {
  FluidNetwork network({10 * kGigaUnit});
  add_batch(network, kGigaUnit, 0, {{0}});
  add_batch(network, kGigaUnit, 0.05, {{0}});
  const auto outcome = network.play(0);
  // 0.5 GB alone, then 5 GB/s each: the first ends at 0.15 s, the second has 0.5 GB left.
  EXPECT_DOUBLE_EQ(outcome.ends[0], 0.15);
  EXPECT_DOUBLE_EQ(outcome.ends[1], 0.2);
  EXPECT_DOUBLE_EQ(outcome.end, 0.2);
  EXPECT_EQ(outcome.events, 4);
}

// The textbook case: A over both links, B over the first, C over the second, of 10 and 30.
TEST(Fluid, IsMaxMinFair) {
  FluidNetwork network({10, 30});
  add_batch(network, 100, 0, {{0}, {1}});
  add_batch(network, 50, 0, {{0}});
  add_batch(network, 500, 0, {{1}});
  // A and B 5 each, C 25. B ends at 10 and A goes on at 10, C at 20 with 250 left; A ends at 15, C has 150 left at 30.
  const auto outcome = network.play(0);
  EXPECT_DOUBLE_EQ(outcome.ends[1], 10);
  EXPECT_DOUBLE_EQ(outcome.ends[0], 15);
  EXPECT_DOUBLE_EQ(outcome.ends[2], 20);
}

TEST(Fluid, Incast) {
  // 4 senders with 10 each into a link of 10 flow at 2.5; one that sends 5 times as much goes on alone.
  FluidNetwork network({10, 10, 10, 10, 10});
  for (std::int32_t sender = 0; sender < 4; ++sender) add_batch(network, sender == 3 ? 50 : 10, 0, {{sender}, {4}});
  const auto outcome = network.play(0);
  EXPECT_DOUBLE_EQ(outcome.ends[0], 4);
  EXPECT_DOUBLE_EQ(outcome.ends[3], 4 + 40.0 / 10);
}

TEST(Fluid, ABatchCountsAsItsFlows) {
  // 6 flows, 2 over each of three links of 10, which one batch stands for.
  FluidNetwork batched({10});
  add_batch(batched, 100, 0, {{0, 2}});
  EXPECT_DOUBLE_EQ(batched.play(0).end, 20);
}

TEST(Fluid, PartsThatShareNothingAreLeftAlone) {
  FluidNetwork network({10, 1});
  add_batch(network, 100, 0, {{0}});
  const std::int32_t slow = add_batch(network, 100, 0, {{1}});
  add_batch(network, 50, 0, {{0}});
  const auto outcome = network.play(0);
  EXPECT_DOUBLE_EQ(outcome.ends[static_cast<std::size_t>(slow)], 100);
  EXPECT_DOUBLE_EQ(outcome.ends[0], 15);
}

// On random networks: no link is overfull, all bytes arrive in the order that rates allow, and every end is at least what the
// busiest link of the flow needs for it alone.
TEST(Fluid, NeverBeatsItsLinks) {
  std::mt19937 random(3);
  for (int round = 0; round < 50; ++round) {
    const int links = 2 + static_cast<int>(random() % 6);
    std::vector<double> capacities;
    for (int l = 0; l < links; ++l) capacities.push_back(1 + static_cast<double>(random() % 20));
    FluidNetwork network(capacities);
    std::vector<double> through(capacities.size(), 0);
    for (int f = 0; f < 12; ++f) {
      const auto a = static_cast<std::int32_t>(random() % static_cast<unsigned>(links));
      const auto b = static_cast<std::int32_t>(random() % static_cast<unsigned>(links));
      const double bytes = 1 + static_cast<double>(random() % 1000);
      through[static_cast<std::size_t>(a)] += bytes;
      if (a != b) through[static_cast<std::size_t>(b)] += bytes;
      add_batch(network, bytes, 0, a == b ? std::vector<LinkUse>{{a}} : std::vector<LinkUse>{{a}, {b}});
    }
    const auto outcome = network.play(0);
    for (std::size_t l = 0; l < through.size(); ++l) EXPECT_GE(outcome.end * (1 + 1e-9), through[l] / capacities[l]);
    for (std::int32_t f = 0; f < network.batches(); ++f) {
      double narrowest = 1e30;
      for (const LinkUse& use : network.uses_of(f))
        narrowest = std::min(narrowest, capacities[static_cast<std::size_t>(use.link)]);
      EXPECT_GE(outcome.ends[static_cast<std::size_t>(f)] * (1 + 1e-9), network.bytes_of(f) / narrowest);
    }
    // A window delays, and no more than it says per event.
    const double window = outcome.end / 50;
    const auto coarse = network.play(window);
    EXPECT_GE(coarse.end * (1 + 1e-9), outcome.end);
    EXPECT_LE(coarse.events, outcome.events);
    EXPECT_LE(coarse.end, outcome.end + window * static_cast<double>(coarse.events));
  }
}

TEST(Fluid, IsTheSameOnEveryRun) {
  FluidNetwork network({7, 11, 13});
  for (std::int32_t f = 0; f < 30; ++f) add_batch(network, 100 + f * 7 % 13, f % 3, {{f % 3}, {(f + 1) % 3}});
  EXPECT_EQ(network.play(0).ends, network.play(0).ends);
}

}  // namespace
}  // namespace moesim
