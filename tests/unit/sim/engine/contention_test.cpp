#include "sim/engine/contention.hpp"

#include <gtest/gtest.h>

#include "program_builder.hpp"
#include "sim/engine/replay.hpp"

namespace moesim {
namespace {

using test::ProgramBuilder;

// One entity with `shares.size()` communications on streams of their own, started after `delays`.
struct Beside {
  float share;
  Picoseconds delay;
  Picoseconds duration;
};
constexpr Stream kCommStreams[] = {Stream::kTp, Stream::kCp, Stream::kEp, Stream::kDp};

std::vector<Picoseconds> ends_of(const std::vector<Beside>& operations, bool contention = true) {
  ProgramBuilder b(1);
  b.own_ports();
  b.program.entities[0].groups = {-1};
  for (std::size_t i = 0; i < operations.size(); ++i) {
    const std::uint32_t use = b.port_use({operations[i].share});
    b.collective(0, 0, {.stream = kCommStreams[i], .duration = operations[i].delay});
    b.collective(0, 0, {.stream = kCommStreams[i], .duration = operations[i].duration, .port_use = use});
  }
  const ReplayResult result = replay(b.program, {.record_intervals = true, .contention = contention});
  EXPECT_TRUE(result.finished);
  std::vector<Picoseconds> ends(operations.size());
  for (const Interval& interval : result.intervals) {
    if (interval.op % 2 == 1) ends[interval.op / 2] = interval.end;
  }
  return ends;
}

using Ends = std::vector<Picoseconds>;

TEST(Contention, TwoFullSharesTakeTwiceAsLong) {
  EXPECT_EQ(ends_of({{1, 0, 100}, {1, 0, 100}}), (Ends{200, 200}));
  EXPECT_EQ(ends_of({{1, 0, 100}, {1, 0, 100}}, false), (Ends{100, 100}));
}

// From 50 to 150 both run at half speed; then the second has 50 left.
TEST(Contention, AStaggeredStartIsExact) { EXPECT_EQ(ends_of({{1, 0, 100}, {1, 50, 100}}), (Ends{150, 200})); }

// Load 1.5 until the shorter has done its 60 at 90, then alone: 90 + 40.
TEST(Contention, OverloadSlowsAllInProportion) { EXPECT_EQ(ends_of({{1.0F, 0, 100}, {0.5F, 0, 60}}), (Ends{130, 90})); }

TEST(Contention, SharesUpToOneDoNotInterfere) {
  EXPECT_EQ(ends_of({{0.5F, 0, 100}, {0.25F, 3, 70}, {0.25F, 5, 11}}), (Ends{100, 73, 16}));
}

// Three on one port from the start: 3 * 10 = 30 for the first to end, then 20 left at half speed, then 10 alone.
TEST(Contention, ThreeSharersLeaveOneByOne) {
  EXPECT_EQ(ends_of({{1, 0, 10}, {1, 0, 30}, {1, 0, 40}}), (Ends{30, 70, 80}));
}

// 1 ps of work at a third of the speed after 1 ps: ends are rounded up, never down.
TEST(Contention, FractionsRoundUp) { EXPECT_EQ(ends_of({{1, 0, 2}, {0.75F, 1, 1}}), (Ends{3, 3})); }

TEST(Contention, AnOperationAloneTakesItsOwnTimeWhateverItsMembersShare) {
  ProgramBuilder b(4);
  b.group({0, 1, 2, 3});
  b.program.ports = 1;
  const std::uint32_t full = b.port_use({1.0F});
  for (std::uint32_t e = 0; e < 4; ++e) {
    b.program.entities[e].ports = {0};
    b.collective(e, 0, {.stream = Stream::kEp, .duration = 100, .port_use = full});
  }
  EXPECT_EQ(replay(b.program, {}).end, 100);
}

// Two groups whose members share a node's port: each group presses on it with its capacity.
TEST(Contention, GroupsThatShareAPortSlowEachOther) {
  ProgramBuilder b(4);
  b.group({0, 1});
  b.group({2, 3});
  b.program.ports = 1;
  const std::uint32_t half = b.port_use({0.5F});
  for (std::uint32_t e = 0; e < 4; ++e) {
    b.program.entities[e].ports = {0};
    b.collective(e, 0, {.stream = Stream::kEp, .duration = 100, .port_use = half});
  }
  EXPECT_EQ(replay(b.program, {}).end, 200);
}

// Entity 0's own traffic slows the collective for all members; the collective as a whole follows its busiest port.
TEST(Contention, ACollectiveFollowsItsBusiestPort) {
  ProgramBuilder b(3);
  b.group({0, 1, 2});
  b.own_ports();
  const std::uint32_t full = b.port_use({1.0F});
  for (std::uint32_t e = 0; e < 3; ++e) {
    b.collective(e, 0, {.stream = Stream::kEp, .duration = 100, .port_use = full});
  }
  b.program.entities[0].groups.push_back(-1);
  b.collective(0, 1, {.stream = Stream::kDp, .duration = 30, .port_use = full});
  const ReplayResult result = replay(b.program, {});
  EXPECT_EQ(result.entities[2].end, 130);
  EXPECT_EQ(result.entities[0].busy[static_cast<std::size_t>(Stream::kDp)], 60);
}

// The tiers are ports of their own: only the crowded one counts.
TEST(Contention, TiersAreSeparatePorts) {
  ProgramBuilder b(1);
  b.program.entities[0].groups = {-1};
  b.program.entities[0].ports = {0, 1};
  b.program.ports = 2;
  const std::uint32_t first = b.port_use({1.0F, 0.0F});
  const std::uint32_t second = b.port_use({0.0F, 1.0F});
  const std::uint32_t half_of_second = b.port_use({0.0F, 0.5F});
  b.collective(0, 0, {.stream = Stream::kTp, .duration = 100, .port_use = first});
  b.collective(0, 0, {.stream = Stream::kDp, .duration = 100, .port_use = second});
  b.collective(0, 0, {.stream = Stream::kEp, .duration = 100, .port_use = half_of_second});
  const ReplayResult result = replay(b.program, {});
  EXPECT_EQ(result.entities[0].busy[static_cast<std::size_t>(Stream::kTp)], 100);
  EXPECT_EQ(result.entities[0].busy[static_cast<std::size_t>(Stream::kDp)], 150);
}

TEST(Contention, AnEntityWithoutPortsIsNotSlowed) {
  ProgramBuilder b(1);
  b.program.entities[0].groups = {-1};
  const std::uint32_t full = b.port_use({1.0F});
  b.collective(0, 0, {.stream = Stream::kTp, .duration = 100, .port_use = full});
  b.collective(0, 0, {.stream = Stream::kDp, .duration = 100, .port_use = full});
  EXPECT_EQ(replay(b.program, {}).end, 100);
}

// A transfer presses on both ends: the receiver's other traffic slows it.
TEST(Contention, ATransferPressesOnBothEnds) {
  ProgramBuilder b(2);
  b.channel(0, 1);
  b.own_ports();
  const std::uint32_t full = b.port_use({1.0F});
  b.send(0, 0, {.stream = Stream::kPpForwardSend, .duration = 100, .port_use = full});
  b.receive(1, 1, {.stream = Stream::kPpForwardReceive, .port_use = full});
  b.program.entities[1].groups = {-1};
  b.collective(1, 0, {.stream = Stream::kDp, .duration = 100, .port_use = full});
  EXPECT_EQ(replay(b.program, {}).end, 200);
}

// Ports out and in: what two entities send each other does not meet, and a collective meets each of it.
TEST(Contention, WhatLeavesDoesNotSlowWhatArrives) {
  ProgramBuilder b(2);
  b.channel(0, 1, 0);
  b.channel(1, 0, 1);
  b.program.entities[0].ports = {0, 1};
  b.program.entities[1].ports = {2, 3};
  b.program.ports = 4;
  const std::uint32_t out = b.port_use({1.0F, 0.0F});
  const std::uint32_t in = b.port_use({0.0F, 1.0F});
  for (const std::uint32_t e : {0U, 1U}) {
    const std::uint8_t there = e == 0 ? 0 : 2;  // slots: 0 -> 1 by the first channel, 2 -> 3 by the second
    const std::uint8_t here = e == 0 ? 3 : 1;
    b.send(e, there, {.stream = Stream::kPpForwardSend, .duration = 100, .port_use = out});
    b.receive(e, here, {.stream = Stream::kPpForwardReceive, .port_use = in});
  }
  EXPECT_EQ(replay(b.program, {}).end, 100);
  const std::uint32_t both = b.port_use({1.0F, 1.0F});
  b.program.entities[1].groups = {-1};
  b.collective(1, 0, {.stream = Stream::kDp, .duration = 100, .port_use = both});
  EXPECT_EQ(replay(b.program, {}).end, 200);
}

// Four streams keep one port busy from beginning to end: whatever the order, the work is done when its sum has passed.
// Every end may be rounded up by a picosecond.
TEST(Contention, ABusyPortDoesAllItsWorkAndNoMore) {
  test::Dice dice(11);
  for (int round = 0; round < 100; ++round) {
    ProgramBuilder b(1);
    b.own_ports();
    b.program.entities[0].groups = {-1};
    const std::uint32_t full = b.port_use({1.0F});
    Picoseconds sum = 0;
    const int operations = 4 + static_cast<int>(dice.below(40));
    for (int i = 0; i < operations; ++i) {
      const Picoseconds duration = 1 + dice.below(1000);
      b.collective(0, 0, {.stream = kCommStreams[dice.below(4)], .duration = duration, .port_use = full});
      sum += duration;
    }
    const Picoseconds end = replay(b.program, {}).end;
    EXPECT_GE(end, sum);
    EXPECT_LE(end, sum + operations);
  }
}

// Compute 0-50 alone, then at 1 / 1.25 beside 100 ps of communication: 80 done at 150, the last 20 alone until 170.
TEST(Contention, ComputeIsSlowerBesideCommunicationThatHoldsIt) {
  ProgramBuilder b(1);
  b.program.compute_slowdown = 1.25;
  b.program.entities[0].groups = {-1};
  b.compute(0, {.duration = 150});
  b.collective(0, 0, {.stream = Stream::kEp, .duration = 50});
  b.collective(0, 0, {.stream = Stream::kEp, .duration = 100, .holds_compute = true});
  EXPECT_EQ(replay(b.program, {}).end, 170);
  EXPECT_EQ(replay(b.program, {.contention = false}).end, 150);
}

// An exchange that holds a share of its own slows by that; beside both the larger counts. 40 ps alone; 40 to 100 beside the exchange
// at 1 / 3: 20 done; 100 to 120 beside the other at 1 / 1.25: 16 done; the last 24 alone until 144.
TEST(Contention, AnExchangeMayHoldAShareOfItsOwn) {
  ProgramBuilder b(1);
  b.program.compute_slowdown = 1.25;
  b.program.share_slowdown = 3;
  b.program.entities[0].groups = {-1};
  b.compute(0, {.duration = 100});
  b.collective(0, 0, {.stream = Stream::kEp, .duration = 40});
  b.collective(0, 0, {.stream = Stream::kEp, .duration = 60, .holds_share = true});
  b.collective(0, 0, {.stream = Stream::kEp, .duration = 20, .holds_compute = true});
  EXPECT_EQ(replay(b.program, {}).end, 144);
  ProgramBuilder both(1);
  both.program.compute_slowdown = 1.25;
  both.program.share_slowdown = 1.5;
  both.program.entities[0].groups = {-1};
  both.compute(0, {.duration = 100});
  both.collective(0, 0, {.stream = Stream::kEp, .duration = 90, .holds_share = true});
  both.collective(0, 0, {.stream = Stream::kTp, .duration = 120, .holds_compute = true});
  EXPECT_EQ(replay(both.program, {}).end, 136);  // 60 done at 90, 24 more at 120, 16 alone
}

// Two holders do not slow twice; the compute speeds up when the last has gone.
TEST(Contention, HoldersDoNotAddUp) {
  ProgramBuilder b(1);
  b.program.compute_slowdown = 2;
  b.program.entities[0].groups = {-1};
  b.compute(0, {.duration = 100});
  b.collective(0, 0, {.stream = Stream::kEp, .duration = 60, .holds_compute = true});
  b.collective(0, 0, {.stream = Stream::kTp, .duration = 80, .holds_compute = true});
  EXPECT_EQ(replay(b.program, {}).end, 140);  // 40 done at 80
}

}  // namespace
}  // namespace moesim
