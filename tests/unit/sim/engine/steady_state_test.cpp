#include "sim/engine/steady_state.hpp"

#include <gtest/gtest.h>

#include "random_program.hpp"
#include "sim/engine/replay.hpp"

namespace moesim {
namespace {

using test::ProgramBuilder;

// Everything that is reported, ties included, is as if each event had been played.
void expect_equal(const ReplayResult& leaping, const ReplayResult& played, std::uint64_t seed) {
  ASSERT_EQ(played.leapt, 0U);
  ASSERT_EQ(leaping.finished, played.finished) << seed;
  ASSERT_EQ(leaping.end, played.end) << seed;
  ASSERT_EQ(leaping.events, played.events) << seed;
  ASSERT_EQ(leaping.queue_events, played.queue_events) << seed;
  ASSERT_EQ(leaping.entities.size(), played.entities.size());
  for (std::size_t e = 0; e < played.entities.size(); ++e) {
    ASSERT_EQ(leaping.entities[e].end, played.entities[e].end) << seed;
    ASSERT_EQ(leaping.entities[e].busy, played.entities[e].busy) << seed;
    ASSERT_EQ(leaping.entities[e].compute_by_category, played.entities[e].compute_by_category) << seed;
    ASSERT_EQ(leaping.entities[e].exposed_by_category, played.entities[e].exposed_by_category) << seed;
  }
}

void add_calls(ReplayProgram& program, std::size_t calls) {
  for (std::uint32_t e = 0; e < program.entities.size(); ++e)
    program.entities[e].calls.assign(calls, ReplayCall{.block = e});
}

TEST(SteadyState, OneEntityLeapsOverItsRepetitions) {
  // A call takes 3 + 4: communication beside computation, and the next call's computation behind both.
  ProgramBuilder b(1);
  const std::uint32_t first = b.compute(0, {.duration = 3});
  b.collective(0, 0, {.stream = Stream::kTp, .duration = 4, .deps = {first}});
  b.compute(0, {.duration = 0, .wait_streams = stream_bit(Stream::kTp)});
  b.group({0});
  add_calls(b.program, 1000);
  const ReplayResult result = replay(b.program, {});
  EXPECT_EQ(result.end, 7000);
  EXPECT_EQ(result.entities[0].busy[0], 3000);
  EXPECT_GT(result.leapt, result.events * 9 / 10);
  expect_equal(result, replay(b.program, {.leap = false}), 0);
}

TEST(SteadyState, RandomProgramsComeOutAsWhenPlayed) {
  std::uint64_t leapt = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    for (const bool contention : {false, true}) {
      ProgramBuilder b = test::random_program(seed);
      add_calls(b.program, 40);
      const ReplayResult result = replay(b.program, {.contention = contention});
      leapt += result.leapt > 0 ? 1 : 0;
      expect_equal(result, replay(b.program, {.contention = contention, .leap = false}), seed);
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GT(leapt, 400U);  // of 800: the test would be empty otherwise
}

// Calls of several kinds in a period, durations by micro-batch, and another regime behind the first.
TEST(SteadyState, PeriodsOfSeveralCalls) {
  std::uint64_t leapt = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    ProgramBuilder b = test::random_program(seed);
    test::Dice dice(seed);
    const auto period = 1 + dice.below(4);
    std::vector<std::uint16_t> variants(period);
    for (std::uint16_t& variant : variants) variant = static_cast<std::uint16_t>(dice.below(2));
    for (ReplayBlock& block : b.program.blocks)
      for (ReplayOp& op : block.ops) op.varies = true;
    for (auto& table : b.program.durations) table.push_back(5);  // the last operation's second duration
    for (std::uint32_t e = 0; e < b.program.entities.size(); ++e) {
      auto& calls = b.program.entities[e].calls;
      calls.clear();
      for (std::uint32_t i = 0; i < 60; ++i)
        calls.push_back({.block = e, .variant = i < 40 ? variants[i % period] : std::uint16_t{1}});
    }
    const ReplayResult result = replay(b.program, {});
    leapt += result.leapt > 0 ? 1 : 0;
    expect_equal(result, replay(b.program, {.leap = false}), seed);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(leapt, 100U);
}

// A reduction in the last call is before its stream from the beginning on, and must not be leapt over.
TEST(SteadyState, StopsBeforeWhatWaitsForALaterCall) {
  ProgramBuilder b(2);
  b.group({0, 1});
  b.own_ports();
  const std::uint32_t use = b.port_use({1.0F});
  for (std::uint32_t e = 0; e < 2; ++e) {
    const std::uint32_t own = b.compute(e, {.duration = 10 + e, .wait_streams = stream_bit(Stream::kEp)});
    b.collective(e, 0, {.stream = Stream::kEp, .duration = 6, .deps = {own}, .port_use = use});
  }
  for (std::uint32_t e = 0; e < 2; ++e) {
    ReplayBlock last = b.program.blocks[e];
    ReplayOp reduction = last.ops[1];
    reduction.stream = Stream::kDp;
    last.ops.push_back(reduction);
    b.program.blocks.push_back(last);
    b.program.entities[e].calls.assign(100, ReplayCall{.block = e});
    for (const std::size_t call : {50U, 99U}) b.program.entities[e].calls[call].block = 2 + e;
  }
  const ReplayResult result = replay(b.program, {});
  EXPECT_GT(result.leapt, 0U);
  EXPECT_EQ(result.entities[0].busy[static_cast<std::size_t>(Stream::kDp)], 2 * 12);
  expect_equal(result, replay(b.program, {.leap = false}), 0);
}

TEST(SteadyState, ProgramsThatCannotFinishSayTheSame) {
  ProgramBuilder b(2);
  b.group({0, 1});
  for (std::uint32_t e = 0; e < 2; ++e) b.collective(e, 0, {.stream = Stream::kTp, .duration = 5});
  b.program.entities[0].calls.assign(50, ReplayCall{.block = 0});
  b.program.entities[1].calls.assign(40, ReplayCall{.block = 1});
  const ReplayResult leaping = replay(b.program, {});
  const ReplayResult played = replay(b.program, {.leap = false});
  ASSERT_FALSE(leaping.finished);
  ASSERT_EQ(leaping.waiting.size(), played.waiting.size());
  EXPECT_EQ(leaping.waiting[0].call, played.waiting[0].call);
  EXPECT_EQ(leaping.waiting[0].reason, played.waiting[0].reason);
}

}  // namespace
}  // namespace moesim
