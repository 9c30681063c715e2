#include "sim/pipeline/schedules.hpp"

#include <gmock/gmock.h>

#include <set>

#include "pipeline_testing.hpp"

namespace moesim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(PipelineSchedules, AreFoundByTheirUniqueNames) {
  std::set<std::string_view> names;
  for (const PipelineSchedule* schedule : pipeline_schedules()) {
    EXPECT_EQ(find_pipeline_schedule(schedule->name()).value(), schedule);
    EXPECT_FALSE(schedule->description().empty());
    EXPECT_TRUE(names.insert(schedule->name()).second);
  }
  EXPECT_EQ(names, (std::set<std::string_view>{"1f1b", "gpipe", "interleaved", "zb1p", "zbv", "dualpipe", "dualpipev",
                                               "1f1b-overlap", "interleaved-overlap"}));
}

TEST(PipelineSchedules, UnknownNameSuggestsTheNearest) {
  const auto found = find_pipeline_schedule("dualpip");
  ASSERT_FALSE(found.has_value());
  EXPECT_THAT(found.error().what, HasSubstr("did you mean 'dualpipe'"));
  EXPECT_THAT(found.error().hint, HasSubstr("1f1b, gpipe"));
}

TEST(PipelineSchedules, OrdersOfSmallPipelines) {
  EXPECT_EQ(order_text("gpipe", 1, {2, 3, 1}), "F0 F1 F2 B2 B1 B0");
  EXPECT_EQ(order_text("1f1b", 0, {3, 4, 1}), "F0 F1 F2 B0 F3 B1 B2 B3");
  EXPECT_EQ(order_text("1f1b", 2, {3, 4, 1}), "F0 B0 F1 B1 F2 B2 F3 B3");
  EXPECT_EQ(order_text("1f1b", 0, {4, 2, 1}), "F0 F1 B0 B1");  // fewer micro-batches than the warm-up
  EXPECT_EQ(order_text("zb1p", 0, {3, 4, 1}), "F0 F1 F2 I0 W0 F3 I1 W1 I2 W2 I3 W3");
  EXPECT_EQ(order_text("zb1p", 2, {3, 4, 1}), "F0 I0 F1 I1 F2 I2 W0 F3 I3 W1 W2 W3");
}

TEST(PipelineSchedules, InterleavedTakesTurnsOfPMicroBatches) {
  // Stage 0 of 2, 2 chunks, 4 micro-batches: warm-up 2*(2-1-0) + 1*2 = 4 of 8 forwards.
  const auto slots = schedule_named("interleaved").slots(0, {2, 4, 2});
  std::vector<Slot> expected;
  const auto f = [&](int chunk, int m) { expected.push_back({SlotKind::kForward, chunk, m}); };
  const auto b = [&](int chunk, int m) { expected.push_back({SlotKind::kBackward, chunk, m}); };
  f(0, 0), f(0, 1), f(2, 0), f(2, 1);
  f(0, 2), b(2, 0), f(0, 3), b(2, 1), f(2, 2), b(0, 0), f(2, 3), b(0, 1);
  b(2, 2), b(2, 3), b(0, 2), b(0, 3);
  EXPECT_EQ(slots, expected);
}

TEST(PipelineSchedules, PlacesVirtualStages) {
  const auto places = [](std::string_view name, const PipelineShape& shape) {
    std::vector<int> stages;
    for (int chunk = 0; chunk < shape.chunks(); ++chunk) stages.push_back(schedule_named(name).stage_of(chunk, shape));
    return stages;
  };
  EXPECT_THAT(places("interleaved", {2, 4, 3}), ElementsAre(0, 1, 0, 1, 0, 1));
  EXPECT_THAT(places("zbv", {3, 8, 2}), ElementsAre(0, 1, 2, 2, 1, 0));
  EXPECT_THAT(places("dualpipe", {4, 8, 2}), ElementsAre(0, 1, 2, 3, 3, 2, 1, 0));
  EXPECT_THAT(places("dualpipev", {2, 8, 2}), ElementsAre(0, 1, 1, 0));
  EXPECT_EQ(virtual_stages(schedule_named("dualpipe"), {4, 8, 2}), 4);  // of each of the two copies
  EXPECT_EQ(virtual_stages(schedule_named("zbv"), {4, 8, 2}), 8);
}

std::string refusal(std::string_view name, const PipelineShape& shape) {
  const Status status = schedule_named(name).check(shape);
  return status ? "accepted" : status.error().what;
}

TEST(PipelineSchedules, RefuseShapesTheyDoNotExistFor) {
  EXPECT_THAT(refusal("1f1b", {0, 4, 1}), HasSubstr("pipeline-model-parallel size is 0"));
  EXPECT_THAT(refusal("1f1b", {2, 0, 1}), HasSubstr("0 micro-batches"));
  EXPECT_THAT(refusal("1f1b", {2, 4, 0}), HasSubstr("0 model chunks"));
  EXPECT_THAT(refusal("1f1b", {2, 4, 2}), HasSubstr("holds 1 model chunk per stage, vpp is 2"));
  EXPECT_THAT(refusal("1f1b", {4096, 1 << 20, 1}), HasSubstr("more work than"));
  EXPECT_THAT(refusal("interleaved", {1, 4, 2}), HasSubstr("should be greater than 1 with interleaved schedule"));
  EXPECT_THAT(refusal("interleaved", {2, 4, 1}), HasSubstr("at least 2 model chunks"));
  EXPECT_THAT(refusal("interleaved", {4, 6, 2}), HasSubstr("(6) is not divisible by pipeline-model-parallel size (4)"));
  EXPECT_THAT(refusal("zbv", {4, 8, 1}), HasSubstr("holds 2 model chunks per stage, vpp is 1"));
  EXPECT_THAT(refusal("dualpipe", {3, 8, 2}), HasSubstr("even number of stages"));
  EXPECT_THAT(refusal("dualpipe", {4, 9, 2}), HasSubstr("even number of micro-batches"));
  EXPECT_THAT(refusal("dualpipe", {4, 6, 2}), HasSubstr("at least 2 x pp = 8"));
  EXPECT_THAT(refusal("dualpipev", {4, 7, 2}), HasSubstr("at least 2 x pp = 8"));
}

// Every schedule keeps the contract for every small shape it accepts.
TEST(PipelineSchedules, KeepTheContract) {
  int checked = 0;
  for (const PipelineSchedule* schedule : pipeline_schedules())
    for (int p = 1; p <= 8; ++p)
      for (int m = 1; m <= 24; ++m)
        for (int v = 1; v <= 4; ++v) {
          const PipelineShape shape{p, m, v};
          if (!schedule->check(shape)) continue;
          const Status status = check_slots(*schedule, shape);
          EXPECT_TRUE(status.has_value()) << schedule->name() << " p=" << p << " m=" << m << " v=" << v << ": "
                                          << (status ? std::string() : status.error().what);
          ++checked;
        }
  // 8 * 24 shapes for 1f1b, 1f1b-overlap, gpipe, zb1p, zbv; interleaved and interleaved-overlap: 3 values of v and 12+8+6+4+4+3+3 pairs with p | m, p > 1;
  // dualpipe: even p and even m >= 2p: 11+9+7+5; dualpipev: m >= 2p: 23+21+19+17+15+13+11+9.
  EXPECT_EQ(checked, 5 * 192 + 2 * 3 * 40 + 32 + 128);
}

}  // namespace
}  // namespace moesim
