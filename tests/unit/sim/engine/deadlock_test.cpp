#include <gtest/gtest.h>

#include "program_builder.hpp"
#include "sim/engine/replay.hpp"

namespace moesim {
namespace {

using test::ProgramBuilder;

TEST(Deadlock, NamesTheMembersThatDoNotCome) {
  ProgramBuilder b(3);
  b.group({0, 1, 2});
  for (std::uint32_t e = 0; e < 3; ++e) b.collective(e, 0, {.stream = Stream::kEp, .duration = 5});
  const auto second = b.collective(0, 0, {.stream = Stream::kEp, .duration = 5});
  b.compute(0, {.duration = 1, .deps = {second}});
  const ReplayResult result = replay(b.program, {});
  EXPECT_FALSE(result.finished);
  EXPECT_EQ(result.end, 5);
  ASSERT_EQ(result.waiting.size(), 2U);
  EXPECT_EQ(result.waiting[0].entity, 0U);
  EXPECT_EQ(result.waiting[0].op, 2U);
  EXPECT_EQ(result.waiting[0].reason, "waits for stream ep, which stands before op 1 of call 0");
  EXPECT_EQ(result.waiting[1].op, 1U);
  EXPECT_EQ(result.waiting[1].reason, "collective 1 of rendezvous 0 on stream ep is missing entities 1, 2");
}

TEST(Deadlock, TwoCollectivesInOppositeOrderOnOneStream) {
  ProgramBuilder b(2);
  b.group({0, 1});
  b.group({0, 1});
  for (const std::uint32_t e : {0U, 1U}) {
    b.collective(e, e == 0 ? 0 : 1, {.stream = Stream::kTp, .duration = 5});
    b.collective(e, e == 0 ? 1 : 0, {.stream = Stream::kTp, .duration = 5});
  }
  const ReplayResult result = replay(b.program, {});
  EXPECT_FALSE(result.finished);
  ASSERT_EQ(result.waiting.size(), 2U);
  EXPECT_EQ(result.waiting[0].reason, "collective 0 of rendezvous 0 on stream tp is missing entity 1");
  EXPECT_EQ(result.waiting[1].reason, "collective 0 of rendezvous 1 on stream tp is missing entity 0");
}

TEST(Deadlock, AGroupLargerThanItsMembers) {
  ProgramBuilder b(1);
  b.group({0});
  b.program.group_sizes[0] = 2;
  b.collective(0, 0, {.stream = Stream::kTp});
  const ReplayResult result = replay(b.program, {});
  ASSERT_EQ(result.waiting.size(), 1U);
  EXPECT_EQ(result.waiting[0].reason,
            "collective 0 of rendezvous 0 on stream tp expects 2 members and only 1 entities belong to it");
}

TEST(Deadlock, ManyMissingMembersAreCounted) {
  ProgramBuilder b(20);
  std::vector<std::uint32_t> all(20);
  for (std::uint32_t e = 0; e < 20; ++e) all[e] = e;
  b.group(all);
  b.collective(0, 0, {.stream = Stream::kTp});
  EXPECT_EQ(replay(b.program, {}).waiting[0].reason,
            "collective 0 of rendezvous 0 on stream tp is missing entities 1, 2, 3, 4, 5, 6, 7, 8 and 11 more");
}

TEST(Deadlock, ASendWithoutReceive) {
  ProgramBuilder b(2);
  b.channel(0, 1);
  for (int i = 0; i < 2; ++i) b.send(0, 0, {.stream = Stream::kPpForwardSend, .duration = 3});
  b.receive(1, 1, {.stream = Stream::kPpForwardReceive});
  const ReplayResult result = replay(b.program, {});
  EXPECT_FALSE(result.finished);
  ASSERT_EQ(result.waiting.size(), 1U);
  EXPECT_EQ(result.waiting[0].reason, "send 1 of channel slot 0 is missing entity 1");
}

TEST(Deadlock, ChannelsThatLeadNowhere) {
  ProgramBuilder b(2);
  b.program.entities[0].channels = {-1, -1, 1};
  b.send(0, 0, {.stream = Stream::kPpForwardSend});
  b.send(0, 2, {.stream = Stream::kPpBackwardSend});
  b.send(0, 1, {.stream = Stream::kDp});
  const ReplayResult result = replay(b.program, {});
  ASSERT_EQ(result.waiting.size(), 3U);
  EXPECT_EQ(result.waiting[0].reason, "send on channel slot 1 can never match: even slots send, odd slots receive");
  EXPECT_EQ(result.waiting[1].reason, "send on channel slot 0 has no peer");
  EXPECT_EQ(result.waiting[2].reason, "send on channel slot 2 names entity 1, whose slot 3 does not lead back");
}

}  // namespace
}  // namespace moesim
