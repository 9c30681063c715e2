#include "exec/comm/comm_group.hpp"

#include <gtest/gtest.h>

#include "local_ranks.hpp"

namespace moesim {
namespace {

TEST(CommGroup, KnowsPlacesInTheOrderOfTheList) {
  const CommGroup group = CommGroup::make({RankId(4), RankId(0), RankId(2)}, RankId(0), 5).value();
  EXPECT_EQ(group.size(), 3);
  EXPECT_EQ(group.position(), 1);
  EXPECT_EQ(group.self(), RankId(0));
  EXPECT_EQ(group.neighbour(1), RankId(2));
  EXPECT_EQ(group.neighbour(2), RankId(4));
  EXPECT_EQ(group.neighbour(-2), RankId(2));
  EXPECT_EQ(ranks_to_text(group.members()), "[4 0 2]");
}

TEST(CommGroup, FingerprintFollowsFromTheListAlone) {
  const std::vector<RankId> list{RankId(0), RankId(1)}, turned{RankId(1), RankId(0)};
  const auto seen_from_0 = CommGroup::make(list, RankId(0), 2), seen_from_1 = CommGroup::make(list, RankId(1), 9);
  EXPECT_EQ(seen_from_0->fingerprint(), seen_from_1->fingerprint());
  EXPECT_NE(seen_from_0->fingerprint(), CommGroup::make(turned, RankId(0), 2)->fingerprint());
}

std::string refusal(std::vector<RankId> members) {
  const auto made = CommGroup::make(std::move(members), RankId(0), 3);
  return made ? "accepted" : made.error().what;
}

TEST(CommGroup, RefusesListsThatAreNoGroup) {
  EXPECT_EQ(refusal({}), "a communication group without ranks");
  EXPECT_EQ(refusal({RankId(0), RankId(3)}), "rank 3 in the group [0 3] is none of the world's 3 ranks");
  EXPECT_EQ(refusal({RankId(0), RankId(-1)}), "rank -1 in the group [0 -1] is none of the world's 3 ranks");
  EXPECT_EQ(refusal({RankId(1), RankId(0), RankId(1)}), "rank 1 stands twice in the group [1 0 1]");
  EXPECT_EQ(refusal({RankId(1), RankId(2)}), "rank 0 asks for the group [1 2], to which it does not belong");
}

TEST(CommGroup, IsMadeOnce) {
  run_local_ranks(local_world(1), [](Communicator& comm) {
    const CommGroup first = comm.group({RankId(0)}).value(), second = comm.group({RankId(0)}).value();
    EXPECT_EQ(first.members().data(), second.members().data());
  });
}

}  // namespace
}  // namespace moesim
