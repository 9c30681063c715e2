// Homes and guests of a layer, and placements of policies put in an order in which devices have as few homes as can be.
#include "sim/plan/layer_slots.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

namespace moesim {
namespace {

using testing::ElementsAre;

// The examples of the header.
TEST(LayerSlots, HomeIsTheSlotNearestToTheFront) {
  const LayerSlots slots({{{0, 1, 3, 2, 3, 0}}}, 0, 4, 2);
  EXPECT_EQ(slots.per_device(), 3);
  for (const auto& [expert, home] : {std::pair{0, 0}, std::pair{1, 1}, std::pair{2, 3}, std::pair{3, 4}})
    EXPECT_EQ(slots.home(expert), home);
  for (const int slot : {0, 1, 3, 4}) EXPECT_FALSE(slots.is_guest(slot));
  for (const int slot : {2, 5}) EXPECT_TRUE(slots.is_guest(slot));
  EXPECT_EQ(slots.places_with_state(), 2);
  EXPECT_THAT(slots.slots_of(3), ElementsAre(2, 4));

  const LayerSlots uneven({{{0, 1, 2, 3, 0, kNoExpert}}}, 0, 4, 2);
  EXPECT_EQ(uneven.home(2), 2);
  EXPECT_TRUE(uneven.is_guest(4));
  EXPECT_FALSE(uneven.is_guest(5));
  EXPECT_EQ(uneven.places_with_state(), 3);
}

TEST(LayerSlots, WithoutSpareSlotsAllAreHomes) {
  for (const ExpertSlots& slots : {ExpertSlots{}, ExpertSlots{{{2, 0, 3, 1}}}}) {
    const LayerSlots layer(slots, 0, 4, 2);
    EXPECT_EQ(layer.places_with_state(), 2);
    for (int slot = 0; slot < 4; ++slot) {
      EXPECT_FALSE(layer.is_guest(slot));
      EXPECT_EQ(layer.home(layer.expert(slot)), slot);
    }
  }
}

TEST(HomesFirst, ChoosesHomesSoThatNoDeviceHasMany) {
  const std::vector<std::int32_t> slots = {1, 0, 2, 0, 1, 3};
  EXPECT_THAT(homes_first(slots, 4, 2), ElementsAre(1, 2, 0, 0, 3, 1));
  const std::vector<std::int32_t> with_empty = {2, 1, 0, 3, kNoExpert, 0};
  EXPECT_THAT(homes_first(with_empty, 4, 2), ElementsAre(1, 2, 0, 0, 3, kNoExpert));
  // The first device alone has three of the four.
  const std::vector<std::int32_t> crowded = {2, 1, 3, 0, kNoExpert, kNoExpert};
  EXPECT_THAT(homes_first(crowded, 4, 2), ElementsAre(1, 2, 3, 0, kNoExpert, kNoExpert));
  const std::vector<std::int32_t> twice = {0, 0, 1, 3, 2, 0};
  EXPECT_THAT(homes_first(twice, 4, 2), ElementsAre(0, 1, kNoExpert, 2, 3, 0));
}

// Whatever stands where: each device keeps its experts, and no device has more homes than the best choice gives the busiest one
// (found by trying for each number of homes whether the experts fit, by Hall's condition over sets of devices).
TEST(HomesFirst, IsTheBestChoiceOfRandomPlacements) {
  std::mt19937 random(7);
  for (int trial = 0; trial < 200; ++trial) {
    constexpr int kDevices = 4;
    constexpr int kExperts = 8;
    constexpr int kPlaces = 3;
    std::vector<std::int32_t> given(kDevices * kPlaces, kNoExpert);
    std::vector<std::int32_t> deck;
    for (std::int32_t e = 0; e < kExperts; ++e) deck.push_back(e);
    while (deck.size() < given.size()) deck.push_back(static_cast<std::int32_t>(random() % (kExperts + 1)) - 1);
    for (std::size_t i = deck.size(); i > 1; --i) std::swap(deck[i - 1], deck[random() % i]);
    given = deck;
    const std::vector<std::int32_t> listed = homes_first(given, kExperts, kDevices);
    std::vector<unsigned> holders(kExperts, 0);
    for (int device = 0; device < kDevices; ++device) {
      std::set<std::int32_t> before;
      std::multiset<std::int32_t> after;
      for (int place = 0; place < kPlaces; ++place) {
        const auto slot = static_cast<std::size_t>(device * kPlaces + place);
        if (given[slot] != kNoExpert) {
          before.insert(given[slot]);
          holders[static_cast<std::size_t>(given[slot])] |= 1U << device;
        }
        if (listed[slot] != kNoExpert) after.insert(listed[slot]);
      }
      EXPECT_EQ(std::multiset<std::int32_t>(before.begin(), before.end()), after);
    }
    int least = kExperts / kDevices;
    for (unsigned devices = 1; devices < 1U << kDevices; ++devices) {
      int confined = 0;
      for (const unsigned of_expert : holders) confined += (of_expert & ~devices) == 0 ? 1 : 0;
      const int count = __builtin_popcount(devices);
      least = std::max(least, (confined + count - 1) / count);
    }
    EXPECT_EQ(LayerSlots({{listed}}, 0, kExperts, kDevices).places_with_state(), least);
  }
}

}  // namespace
}  // namespace moesim
