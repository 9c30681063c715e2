#include "sim/pipeline/slot_check.hpp"

#include <gmock/gmock.h>

#include "pipeline_testing.hpp"

namespace moesim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto F = SlotKind::kForward;
constexpr auto B = SlotKind::kBackward;
constexpr auto I = SlotKind::kBackwardInput;
constexpr auto W = SlotKind::kBackwardWeight;

// A schedule with whatever slots a test writes, one chunk per stage.
class Written final : public PipelineSchedule {
 public:
  explicit Written(std::vector<std::vector<Slot>> slots) : slots_(std::move(slots)) {}
  [[nodiscard]] std::string_view name() const override { return "written"; }
  [[nodiscard]] std::string_view description() const override { return "for a test"; }
  [[nodiscard]] Status check(const PipelineShape&) const override { return {}; }
  [[nodiscard]] std::vector<Slot> slots(int stage, const PipelineShape&) const override {
    return slots_[static_cast<std::size_t>(stage)];
  }

 private:
  std::vector<std::vector<Slot>> slots_;
};

std::string verdict(std::vector<std::vector<Slot>> slots, int micro_batches) {
  const PipelineShape shape{static_cast<int>(slots.size()), micro_batches, 1};
  const Status status = check_slots(Written(std::move(slots)), shape);
  return status ? "ok" : status.error().what;
}

TEST(CheckSlots, AcceptsACompleteOrder) {
  EXPECT_EQ(verdict({{{F, 0, 0}, {B, 0, 0}}, {{F, 1, 0}, {I, 1, 0}, {W, 1, 0}}}, 1), "ok");
}

TEST(CheckSlots, NamesWhatIsWrong) {
  EXPECT_THAT(verdict({{{F, 0, 0}}}, 1), HasSubstr("chunk 0 never finishes micro-batch 0"));
  EXPECT_THAT(verdict({{{F, 0, 0}, {I, 0, 0}}}, 1), HasSubstr("chunk 0 never finishes micro-batch 0"));
  EXPECT_THAT(verdict({{{F, 0, 0}, {B, 0, 0}}}, 2), HasSubstr("chunk 0 never finishes micro-batch 1"));
  EXPECT_THAT(verdict({{{F, 0, 0}, {F, 0, 0}, {B, 0, 0}}}, 1),
              HasSubstr("stage 0 repeats forward of chunk 0, micro-batch 0"));
  EXPECT_THAT(verdict({{{F, 0, 0}, {B, 0, 0}, {B, 0, 0}}}, 1), HasSubstr("repeats backward"));
  EXPECT_THAT(verdict({{{F, 0, 0}, {B, 0, 0}, {W, 0, 0}}}, 1), HasSubstr("repeats weight backward"));
  EXPECT_THAT(verdict({{{F, 0, 1}, {B, 0, 1}}}, 1), HasSubstr("does not exist"));
  EXPECT_THAT(verdict({{{F, 1, 0}, {B, 0, 0}}, {}}, 1),
              HasSubstr("stage 0 has forward of chunk 1, micro-batch 0, whose chunk stands on stage 1"));
}

TEST(CheckSlots, FindsOrdersThatCannotRun) {
  EXPECT_THAT(verdict({{{B, 0, 0}, {F, 0, 0}}}, 1), HasSubstr("deadlock: stage 0 at backward of chunk 0"));
  EXPECT_THAT(verdict({{{F, 0, 0}, {W, 0, 0}, {I, 0, 0}}}, 1), HasSubstr("deadlock: stage 0 at weight backward"));
  // Stage 0 wants the gradient of 0 before it sends 1; stage 1 wants 1 before it returns the gradient of 0.
  EXPECT_THAT(
      verdict({{{F, 0, 0}, {B, 0, 0}, {F, 0, 1}, {B, 0, 1}}, {{F, 1, 0}, {F, 1, 1}, {B, 1, 0}, {B, 1, 1}}}, 2),
      HasSubstr(
          "deadlock: stage 0 at backward of chunk 0, micro-batch 0; stage 1 at forward of chunk 1, micro-batch 1"));
}

TEST(CheckSlots, DualPipeKeepsMicroBatchesOnTheirCopy) {
  // 2 stages, 4 micro-batches: the first two pass chunks 0 and 1, the others chunks 2 and 3.
  const auto pipeline = compile_pipeline(schedule_named("dualpipe"), {2, 4, 2});
  ASSERT_TRUE(pipeline.has_value());
  for (const Slot& slot : pipeline->slots) EXPECT_EQ(slot.micro_batch < 2, slot.chunk < 2) << describe(slot);
}

TEST(CheckSlots, RefusedShapeIsInvalidInput) {
  const Status status = check_slots(schedule_named("dualpipe"), {3, 6, 2});
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().kind, ErrorKind::kInvalidInput);
}

TEST(InFlight, CountsByChunk) {
  // Stage 0 runs F00 F01 F20 F21 F02 B20 F03 B21 ... (chunk, micro-batch): 5 held after F02, then 4 of chunk 0 after F03.
  // Stage 1 runs F10 F11 F30 B30 F31 B31 F12 B10 F13 ...: 3 held after F30, then 3 of chunk 1 after F12.
  const InFlight peak = count_in_flight(compile_pipeline(schedule_named("interleaved"), {2, 4, 2}).value());
  EXPECT_THAT(peak.stage_peak, ElementsAre(5, 3));
  EXPECT_THAT(peak.chunk_peak, ElementsAre(4, 3, 2, 1));
}

TEST(ActivationPeaks, WalkTheBytesOfSplitBackwards) {
  // One stage: F0 F1 I0 W0 I1 W1 with 10 bytes, 4 of them kept for the weight half: 10 20 14 10 4 0.
  const Written schedule({{{F, 0, 0}, {F, 0, 1}, {I, 0, 0}, {W, 0, 0}, {I, 0, 1}, {W, 0, 1}}});
  const auto pipeline = compile_pipeline(schedule, {1, 2, 1});
  ASSERT_TRUE(pipeline.has_value());
  std::vector<std::int64_t> peak(1);
  activation_peaks(*pipeline, {{10}, {4}}, peak);
  EXPECT_THAT(peak, ElementsAre(20));
  // Weight halves put off: F0 I0 F1 I1 W0 W1: 10 4 14 8 4 0.
  const Written late({{{F, 0, 0}, {I, 0, 0}, {F, 0, 1}, {I, 0, 1}, {W, 0, 0}, {W, 0, 1}}});
  activation_peaks(compile_pipeline(late, {1, 2, 1}).value(), {{10}, {4}}, peak);
  EXPECT_THAT(peak, ElementsAre(14));
}

TEST(ActivationPeaks, EqualBytesAreTheCounts) {
  for (const PipelineSchedule* schedule : pipeline_schedules()) {
    const PipelineShape shape{4, 8, schedule->name().starts_with("interleaved") ? 2 : schedule->chunks_per_stage(1)};
    const auto pipeline = compile_pipeline(*schedule, shape).value();
    const std::vector<std::int64_t> seven(static_cast<std::size_t>(pipeline.chunks), 7);
    std::vector<std::int64_t> peak(4);
    activation_peaks(pipeline, {seven, seven}, peak);
    const InFlight counts = count_in_flight(pipeline);
    for (std::size_t s = 0; s < 4; ++s) EXPECT_EQ(peak[s], 7 * counts.stage_peak[s]) << schedule->name();
  }
}

}  // namespace
}  // namespace moesim
