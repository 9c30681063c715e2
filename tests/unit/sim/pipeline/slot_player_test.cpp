#include "sim/pipeline/slot_player.hpp"

#include <gmock/gmock.h>

#include "pipeline_testing.hpp"

namespace moesim {
namespace {

using ::testing::ElementsAre;

TEST(SlotPlayer, AddsSendTimesToTheFillingAndDraining) {
  // 1F1B, 2 stages, 1 micro-batch: F0 (2) send (1) F1 (3) B1 (5) send (1.5) B0 (4) = 16.5.
  SlotTimes times;
  times.forward = {2, 3};
  times.backward = {4, 5};
  times.send_forward = {1, 100};  // the last chunk sends nothing forward
  times.send_backward = {100, 1.5};
  const auto result = play_slots(schedule_named("1f1b"), {2, 1, 1}, times).value();
  EXPECT_EQ(result.total, 16.5);
  EXPECT_THAT(result.busy, ElementsAre(6, 8));
  EXPECT_THAT(result.bubble, ElementsAre(10.5, 8.5));
}

TEST(SlotPlayer, TheTurnOfAVSendsNothing) {
  // ZBV on one stage: chunks 0 and 1 stand together, so that no send counts.
  SlotTimes times = uniform_times(2, 1, 1, 1);
  times.send_forward = {50, 50};
  times.send_backward = {50, 50};
  EXPECT_EQ(play_slots(schedule_named("zbv"), {1, 4, 2}, times).value().total, 24);
}

TEST(SlotPlayer, TailEndsTheStageThatEndsLast) {
  // 1F1B, 2 stages, 1 micro-batch, all 1: stage 0 ends at 4, stage 1 at 3. A tail of 3 on stage 1 ends at 6.
  SlotTimes times = uniform_times(2, 1, 1, 0);
  times.stage_tail = {1, 3};
  const auto result = play_slots(schedule_named("1f1b"), {2, 1, 1}, times).value();
  EXPECT_EQ(result.total, 6);
  EXPECT_THAT(result.bubble, ElementsAre(3, 1));  // 6 - 2 - 1 and 6 - 2 - 3
}

TEST(SlotPlayer, UnequalStagesAreBoundByTheSlowest) {
  // A slow last stage (F+B = 6 against 2): filling 1, then m * 6, then draining 1.
  SlotTimes times;
  times.forward = {1, 3};
  times.backward = {1, 3};
  const auto result = play_slots(schedule_named("1f1b"), {2, 10, 1}, times).value();
  EXPECT_EQ(result.total, 1 + 60 + 1);
}

TEST(SlotPlayer, AnEmptyTableIsZero) {
  const auto result = play_slots(schedule_named("dualpipe"), {4, 8, 2}, SlotTimes{}).value();
  EXPECT_EQ(result.total, 0);
}

TEST(SlotPlayer, IsReusableAcrossShapes) {
  SlotPlayer player;
  const auto large = compile_pipeline(schedule_named("dualpipe"), {8, 32, 2}).value();
  const auto small = compile_pipeline(schedule_named("1f1b"), {2, 2, 1}).value();
  const SlotTimes large_times = uniform_times(16, 1, 1, 1), small_times = uniform_times(2, 1, 1, 0);
  const double first = player.play(large, large_times);
  EXPECT_EQ(player.play(small, small_times), 6);
  EXPECT_EQ(player.bubble().size(), 2U);
  EXPECT_EQ(player.step_ends().size(), 8U);
  EXPECT_EQ(player.play(large, large_times), first);
}

// Slower slots or sends never shorten a step: the property that makes the player fit for a bound.
TEST(SlotPlayer, IsMonotone) {
  for (const PipelineSchedule* schedule : pipeline_schedules()) {
    const PipelineShape shape{4, 8, schedule->name().starts_with("interleaved") ? 2 : schedule->chunks_per_stage(1)};
    const auto pipeline = compile_pipeline(*schedule, shape).value();
    SlotPlayer player;
    const auto chunks = static_cast<std::size_t>(pipeline.chunks);
    SlotTimes times = uniform_times(pipeline.chunks, 2, 2, 1);
    times.send_forward.assign(chunks, 0.5);
    times.send_backward.assign(chunks, 0.5);
    const double before = player.play(pipeline, times);
    for (auto table :
         {&SlotTimes::forward, &SlotTimes::backward, &SlotTimes::backward_input, &SlotTimes::backward_weight,
          &SlotTimes::pair, &SlotTimes::send_forward, &SlotTimes::send_backward})
      for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
        SlotTimes slower = times;
        (slower.*table)[chunk] += 1;
        EXPECT_GE(player.play(pipeline, slower), before) << schedule->name();
      }
  }
}

}  // namespace
}  // namespace moesim
