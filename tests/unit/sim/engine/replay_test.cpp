#include "sim/engine/replay.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "program_builder.hpp"
#include "sim/engine/replay_check.hpp"

namespace moesim {
namespace {

using test::OpSpec;
using test::ProgramBuilder;
using ::testing::ElementsAre;

constexpr Stream kCompute = Stream::kCompute;

ReplayResult run(const ReplayProgram& program) {
  EXPECT_EQ(replay_program_fault(program), std::nullopt);
  return replay(program, {.record_intervals = true});
}

const Interval& interval_of(const ReplayResult& result, std::uint32_t entity, std::uint32_t op,
                            std::uint32_t call = 0) {
  for (const Interval& interval : result.intervals) {
    if (interval.entity == entity && interval.op == op && interval.call == call) return interval;
  }
  ADD_FAILURE() << "no interval of entity " << entity << " call " << call << " op " << op;
  static const Interval none;
  return none;
}

TEST(Replay, AnEmptyProgramEndsAtOnce) {
  const ReplayResult result = run(ReplayProgram{});
  EXPECT_TRUE(result.finished);
  EXPECT_EQ(result.end, 0);
  EXPECT_EQ(result.events, 0U);
}

TEST(Replay, AStreamRunsInOrder) {
  ProgramBuilder b(1);
  b.compute(0, {.duration = 5});
  b.compute(0, {.duration = 7});
  const ReplayResult result = run(b.program);
  EXPECT_TRUE(result.finished);
  EXPECT_EQ(result.end, 12);
  EXPECT_EQ(result.events, 2U);
  EXPECT_EQ(interval_of(result, 0, 1).start, 5);
  EXPECT_EQ(interval_of(result, 0, 0).cause, -1);
  EXPECT_EQ(interval_of(result, 0, 1).cause, 0);
}

// compute   |a 10 |     |c 5 |     c needs a and b
// tp        |   b 14    |
TEST(Replay, StreamsOverlapUntilADependency) {
  ProgramBuilder b(1);
  const auto a = b.compute(0, {.duration = 10, .category = 1});
  const auto comm = b.collective(0, 0, {.stream = Stream::kTp, .duration = 14, .category = 2});
  b.program.entities[0].groups = {-1};
  b.compute(0, {.duration = 5, .deps = {a, comm}, .category = 1});
  const ReplayResult result = run(b.program);
  EXPECT_EQ(result.end, 19);
  const EntityStatistics& entity = result.entities[0];
  EXPECT_EQ(entity.end, 19);
  EXPECT_EQ(entity.busy[0], 15);
  EXPECT_EQ(entity.busy[static_cast<std::size_t>(Stream::kTp)], 14);
  EXPECT_THAT(entity.compute_by_category, ElementsAre(0, 15, 0));
  EXPECT_THAT(entity.exposed_by_category, ElementsAre(0, 0, 4));
  EXPECT_EQ(interval_of(result, 0, 2).cause, 1);  // b is the second to end
}

// The wait covers what was issued to the stream before, in this call and in earlier ones, not what comes after.
TEST(Replay, WaitingForAStreamCoversWhatWasIssuedBefore) {
  ProgramBuilder b(1);
  b.program.entities[0].groups = {-1};
  b.collective(0, 0, {.stream = Stream::kDp, .duration = 30});
  b.compute(0, {.duration = 10});
  b.compute(0, {.duration = 1, .wait_streams = stream_bit(Stream::kDp)});
  b.collective(0, 0, {.stream = Stream::kDp, .duration = 100});
  const ReplayResult once = run(b.program);
  EXPECT_EQ(interval_of(once, 0, 2).start, 30);
  EXPECT_EQ(once.end, 130);

  b.program.entities[0].calls.push_back({.block = 0});
  const ReplayResult twice = run(b.program);
  EXPECT_EQ(interval_of(twice, 0, 1, 1).start, 31);   // no dependency: right after the first call's compute
  EXPECT_EQ(interval_of(twice, 0, 2, 1).start, 160);  // 30 + 100 + 30
}

TEST(Replay, WaitingForAStreamThatHasNothingInThisCallWaitsForEarlierCalls) {
  ProgramBuilder b(1);
  b.program.entities[0].groups = {-1};
  b.collective(0, 0, {.stream = Stream::kDp, .duration = 30});
  b.program.blocks.push_back({.ops = {{.duration = 0, .wait_streams = stream_bit(Stream::kDp)}}, .deps = {}});
  b.program.entities[0].calls.push_back({.block = 1});
  const ReplayResult result = run(b.program);
  EXPECT_EQ(interval_of(result, 0, 0, 1).start, 30);
}

TEST(Replay, CallsSelectTheirVariantAndStragglersTakeLonger) {
  ReplayProgram program;
  program.blocks.push_back({.ops = {{.duration = 1, .varies = true}, {.duration = 0}}, .deps = {}});
  program.durations = {{100, 7, 11}};
  program.entities.resize(2);
  program.entities[0].calls = {{.block = 0, .variant = 0}, {.block = 0, .variant = 1}};
  program.entities[1].calls = {{.block = 0, .variant = 1}};
  program.entities[1].compute_scale = 1.5;
  const ReplayResult result = run(program);
  EXPECT_EQ(result.entities[0].end, 7 + 100 + 11 + 100);
  EXPECT_EQ(result.entities[1].end, 17 + 150);  // 16.5 rounds away from zero
}

// Two entities reach the collective at 10 and 25; both leave at 25 + 8, the longer of their prices.
TEST(Replay, ACollectiveWaitsForTheSlowest) {
  ProgramBuilder b(2);
  b.group({0, 1});
  for (const std::uint32_t e : {0U, 1U}) {
    const auto a = b.compute(e, {.duration = e == 0 ? 10 : 25, .category = 1});
    const auto c = b.collective(e, 0, {.stream = Stream::kEp, .duration = e == 0 ? 8 : 6, .deps = {a}, .category = 2});
    b.compute(e, {.duration = 2, .deps = {c}, .category = 1});
  }
  const ReplayResult result = run(b.program);
  EXPECT_EQ(result.end, 35);
  EXPECT_EQ(interval_of(result, 0, 1).start, 25);
  EXPECT_EQ(interval_of(result, 0, 1).end, 33);
  EXPECT_EQ(interval_of(result, 1, 1).end, 33);
  // Both were caused by the slower entity's compute.
  const Interval& cause = result.intervals[static_cast<std::size_t>(interval_of(result, 0, 1).cause)];
  EXPECT_EQ(cause.entity, 1U);
  EXPECT_EQ(cause.end, 25);
  EXPECT_THAT(result.entities[0].exposed_by_category, ElementsAre(0, 0, 23));
  EXPECT_THAT(result.entities[1].exposed_by_category, ElementsAre(0, 0, 8));
  EXPECT_EQ(result.events, 6U);
}

// The same, where to wait for others has a category of its own: the first waits 15 for the slower one, then 8 for the collective.
TEST(Replay, WaitingForOthersMayCountApart) {
  ProgramBuilder b(2);
  b.group({0, 1});
  for (const std::uint32_t e : {0U, 1U}) {
    const auto a = b.compute(e, {.duration = e == 0 ? 10 : 25, .category = 1});
    const auto c = b.collective(e, 0, {.stream = Stream::kEp, .duration = 8, .deps = {a}, .category = 2});
    b.compute(e, {.duration = 2, .deps = {c}, .category = 1});
    b.program.blocks[e].ops[c].meeting_category = 3;
  }
  for (const bool timeline : {false, true}) {  // without one computation is joined
    const ReplayResult result = replay(b.program, {.record_intervals = timeline});
    EXPECT_EQ(result.end, 35);
    EXPECT_THAT(result.entities[0].exposed_by_category, ElementsAre(0, 0, 8, 15));
    EXPECT_THAT(result.entities[1].exposed_by_category, ElementsAre(0, 0, 8, 0));
  }
}

// A group's collectives on different streams are different sequences.
TEST(Replay, CollectivesMatchByGroupAndStream) {
  ProgramBuilder b(2);
  b.group({0, 1});
  b.collective(0, 0, {.stream = Stream::kTp, .duration = 5});
  b.collective(0, 0, {.stream = Stream::kEp, .duration = 50});
  b.collective(1, 0, {.stream = Stream::kEp, .duration = 50});
  b.collective(1, 0, {.stream = Stream::kTp, .duration = 5});
  const ReplayResult result = run(b.program);
  EXPECT_TRUE(result.finished);
  EXPECT_EQ(interval_of(result, 0, 0).end, 5);
  EXPECT_EQ(result.end, 50);
}

TEST(Replay, ABlockingCollectiveOnTheComputeStreamTakesItsOwnWait) {
  ProgramBuilder b(2);
  b.group({0, 1});
  b.compute(0, {.duration = 4});
  b.compute(1, {.duration = 9});
  for (const std::uint32_t e : {0U, 1U}) b.collective(e, 0, {.stream = kCompute, .duration = 3, .category = 1});
  const ReplayResult result = run(b.program);
  EXPECT_THAT(result.entities[0].compute_by_category, ElementsAre(4, 3));
  EXPECT_THAT(result.entities[0].exposed_by_category, ElementsAre(0, 5));
}

// Stage 0 sends at 10 and 20, 3 each; the receive is posted early, stage 1 computes 13-23 and 23-33.
TEST(Replay, TransfersStartWhenBothSidesHaveReachedThem) {
  ProgramBuilder b(2);
  b.channel(0, 1);
  for (int i = 0; i < 2; ++i) {
    const auto f = b.compute(0, {.duration = 10});
    b.send(0, 0, {.stream = Stream::kPpForwardSend, .duration = 3, .deps = {f}, .category = 1});
    const auto r = b.receive(1, 1, {.stream = Stream::kPpForwardReceive, .duration = 999, .category = 1});
    b.compute(1, {.duration = 10, .deps = {r}});
  }
  const ReplayResult result = run(b.program);
  EXPECT_EQ(result.end, 33);
  EXPECT_EQ(interval_of(result, 1, 0).start, 10);
  EXPECT_EQ(interval_of(result, 1, 0).end, 13);
  EXPECT_EQ(interval_of(result, 1, 2).start, 20);
  EXPECT_EQ(interval_of(result, 1, 3).start, 23);
  EXPECT_THAT(result.entities[1].exposed_by_category, ElementsAre(0, 13));
  EXPECT_THAT(result.entities[0].exposed_by_category, ElementsAre(0, 3));  // after the last compute
}

// Stage 1 gathers what it receives at 10 + 3 before it computes: 13 of bubble, then 4 of the gather.
TEST(Replay, AGatherBehindAReceiveIsBubbleFirst) {
  ProgramBuilder b(2);
  b.channel(0, 1);
  const auto f = b.compute(0, {.duration = 10});
  b.send(0, 0, {.stream = Stream::kPpForwardSend, .duration = 3, .deps = {f}, .category = 1});
  const auto r = b.receive(1, 1, {.stream = Stream::kPpForwardReceive, .duration = 999, .category = 1});
  b.program.entities[1].groups = {-1};
  const auto gather = b.collective(1, 0, {.stream = Stream::kTp, .duration = 4, .deps = {r}, .category = 2});
  b.compute(1, {.duration = 5, .deps = {gather}});
  const ReplayResult result = run(b.program);
  EXPECT_EQ(result.end, 22);
  EXPECT_THAT(result.entities[1].compute_by_category, ElementsAre(5, 0, 0));
  EXPECT_THAT(result.entities[1].exposed_by_category, ElementsAre(0, 13, 4));
}

TEST(Replay, ALateReceiverHoldsTheSenderUp) {
  ProgramBuilder b(2);
  b.channel(0, 1);
  b.send(0, 0, {.stream = Stream::kPpForwardSend, .duration = 3});
  const auto busy = b.compute(1, {.duration = 40});
  b.receive(1, 1, {.stream = Stream::kPpForwardReceive, .deps = {busy}});
  const ReplayResult result = run(b.program);
  EXPECT_EQ(interval_of(result, 0, 0).start, 40);
  EXPECT_EQ(result.end, 43);
}

// With two stages the next and the previous are the same entity: the slots tell the directions apart.
TEST(Replay, ChannelsInBothDirectionsBetweenTheSamePair) {
  ProgramBuilder b(2);
  b.channel(0, 1, 0);
  b.channel(1, 0, 1);
  b.send(0, 0, {.stream = Stream::kPpForwardSend, .duration = 3});
  b.receive(1, 1, {.stream = Stream::kPpForwardReceive});
  b.send(1, 2, {.stream = Stream::kPpBackwardSend, .duration = 5});
  b.receive(0, 3, {.stream = Stream::kPpBackwardReceive});
  const ReplayResult result = run(b.program);
  EXPECT_TRUE(result.finished);
  EXPECT_EQ(interval_of(result, 1, 0).end, 3);
  EXPECT_EQ(interval_of(result, 0, 1).end, 5);
}

TEST(Replay, AStageMaySendToItself) {
  ProgramBuilder b(1);
  b.channel(0, 0);
  b.send(0, 0, {.stream = Stream::kPpForwardSend, .duration = 3});
  b.receive(0, 1, {.stream = Stream::kPpForwardReceive});
  const ReplayResult result = run(b.program);
  EXPECT_TRUE(result.finished);
  EXPECT_EQ(result.end, 3);
  EXPECT_EQ(result.events, 2U);
}

TEST(Replay, OperationsOfNoDurationDoNotPassThroughTheQueue) {
  ProgramBuilder b(2);
  b.group({0, 1});
  for (const std::uint32_t e : {0U, 1U}) {
    b.compute(e, {});
    const auto c = b.collective(e, 0, {.stream = Stream::kTp});
    b.compute(e, {.duration = 4, .deps = {c}});
    b.compute(e, {});
  }
  const ReplayResult result = run(b.program);
  EXPECT_TRUE(result.finished);
  EXPECT_EQ(result.end, 4);
  EXPECT_EQ(result.events, 8U);
  EXPECT_EQ(result.queue_events, 2U);
}

// 1F1B closed form without communication (PipeDream-flush): (m + p - 1) * (f + b), here (4 + 2 - 1) * (10 + 20) = 150.
TEST(Replay, OneForwardOneBackwardHasItsClosedForm) {
  constexpr Picoseconds kForward = 10;
  constexpr Picoseconds kBackward = 20;
  ProgramBuilder b(2);
  b.channel(0, 1, 0);
  b.channel(1, 0, 1);
  const auto forward = [&](std::uint32_t stage) {
    std::vector<std::uint32_t> deps;
    if (stage == 1) deps.push_back(b.receive(1, 1, {.stream = Stream::kPpForwardReceive}));
    const auto f = b.compute(stage, {.duration = kForward, .deps = deps});
    if (stage == 0) b.send(0, 0, {.stream = Stream::kPpForwardSend, .deps = {f}});
  };
  const auto backward = [&](std::uint32_t stage) {
    std::vector<std::uint32_t> deps;
    if (stage == 0) deps.push_back(b.receive(0, 3, {.stream = Stream::kPpBackwardReceive}));
    const auto f = b.compute(stage, {.duration = kBackward, .deps = deps});
    if (stage == 1) b.send(1, 2, {.stream = Stream::kPpBackwardSend, .deps = {f}});
  };
  forward(0);
  for (int i = 0; i < 3; ++i) {
    forward(0);
    backward(0);
  }
  backward(0);
  for (int i = 0; i < 4; ++i) {
    forward(1);
    backward(1);
  }
  const ReplayResult result = run(b.program);
  EXPECT_TRUE(result.finished);
  EXPECT_EQ(result.end, 150);
}

TEST(Replay, TimeOfTheComputeStreamAddsUp) {
  ProgramBuilder b(3);
  b.group({0, 1, 2});
  for (std::uint32_t e = 0; e < 3; ++e) {
    const auto a = b.compute(e, {.duration = 5 + e, .category = 1});
    const auto c = b.collective(e, 0, {.stream = Stream::kDp, .duration = 9, .deps = {a}, .category = 2});
    b.compute(e, {.duration = 3, .deps = {c}, .category = 1});
    b.collective(e, 0, {.stream = Stream::kDp, .duration = 9, .category = 3});
  }
  for (const EntityStatistics& entity : run(b.program).entities) {
    Picoseconds sum = 0;
    for (const Picoseconds time : entity.compute_by_category) sum += time;
    for (const Picoseconds time : entity.exposed_by_category) sum += time;
    EXPECT_EQ(sum, entity.end);
  }
}

TEST(Replay, RecordingChangesNothingElse) {
  ProgramBuilder b(1);
  b.compute(0, {.duration = 5});
  const ReplayResult result = replay(b.program, {});
  EXPECT_TRUE(result.intervals.empty());
  EXPECT_EQ(result.end, 5);
}

}  // namespace
}  // namespace moesim
