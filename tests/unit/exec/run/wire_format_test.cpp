// Rows that travel in a narrower format than they are computed in.
//
// Whatever the schedule, the same rows are rounded, so that all train alike. Not to the last bit: sums in another order put a few
// numbers on the other side of a tie, where rounding moves nearly every number by half as much. So they must be ten times as
// close to each other as to a run that rounds nothing; that is where rows are computed alike before they are rounded: by
// schedules, EP, DP and PP, not by TP and CP, whose other sums in one layer move more numbers across ties in the next.
//
// Against one rank, which sends nothing, gradients are apart by what rounding does. How much that is BF16 on one rank tells
// (bf16_test.cpp): it rounds these rows and everything else to 2^-9 of themselves; E4M3 rounds to 2^-4, 32 times as much, or to
// 2^-10 of the largest of 128 divided by 448, which is less. Changes are small, so they add up as their sizes do, and twice as
// much is allowed as there.
#include <gtest/gtest.h>

#include <array>

#include "sim/lower/moe_schedule.hpp"
#include "tests/unit/exec/run/run_testing.hpp"

namespace moesim {
namespace {

constexpr double kCloser = 10;
constexpr double kTimes = 2;
constexpr double kFp8OverBf16 = 32;

struct Formats {
  WireFormat dispatch, combine;
};
constexpr Formats kNarrow = {WireFormat::kBf16, WireFormat::kBf16};
constexpr Formats kDeepEp = {WireFormat::kFp8, WireFormat::kBf16};
constexpr Formats kNarrowest = {WireFormat::kFp8, WireFormat::kFp8};

Plan with_formats(const ParallelSizes& sizes, const Formats& formats) {
  Plan plan = tiny_plan(sizes);
  plan.moe_dispatch_format = formats.dispatch;
  plan.moe_combine_format = formats.combine;
  return plan;
}

Trained trained_with(const Plan& plan, const ModelShape& model) {
  Result<Trained> trained = train_all(plan, model, 1);
  EXPECT_TRUE(trained.has_value()) << trained.error().what;
  return trained ? std::move(*trained) : Trained{};
}

// Root of the sum of squares of the difference over all matrices, relative to that of the first.
double distance(const WholeMatrices& a, const WholeMatrices& b) {
  double apart = 0;
  double whole = 0;
  for (const auto& [id, matrix] : a.matrices()) {
    const auto& other = b.matrices().at(id);
    for (std::size_t r = 0; r < matrix.values.size(); ++r)
      for (std::size_t c = 0; c < matrix.values[r].size(); ++c) {
        const double value = *matrix.values[r][c];
        apart += std::pow(value - static_cast<double>(*other.values[r][c]), 2);
        whole += value * value;
      }
  }
  return std::sqrt(apart / whole);
}

TEST(WireFormats, EveryScheduleRoundsTheSameRows) {
  for (const Formats& formats : {kNarrow, kNarrowest}) {
    const ParallelSizes sizes{.dp = 4, .ep = 4};
    const Trained reference = trained_with(with_formats(sizes, formats), tiny_moe());
    const Trained unrounded = trained_with(tiny_plan(sizes), tiny_moe());
    const double of_rounding = distance(unrounded.gradients, reference.gradients);
    EXPECT_GT(of_rounding, formats.dispatch == WireFormat::kFp8 ? 5e-3 : 2e-4) << "no effect";
    int compared = 0;
    for (const MoeSchedule* schedule : moe_schedules()) {
      Plan plan = with_formats(sizes, formats);
      plan.moe_schedule = schedule->name();
      if (!schedule->check(plan, *tiny_moe().first_moe())) continue;
      // Its columns go back in blocks, each with scales of its own.
      if (schedule->name() == "comet" && formats.combine == WireFormat::kFp8) continue;
      // It sends back one row for all copies of a token on a rank.
      if (schedule->name() == "deepep") continue;
      for (const int degree : schedule->degrees(plan)) {
        plan.moe_degree = degree;
        SCOPED_TRACE(plan.moe_schedule + " in " + std::to_string(degree));
        const Trained trained = trained_with(plan, tiny_moe());
        EXPECT_LT(distance(reference.gradients, trained.gradients), of_rounding / kCloser);
        ++compared;
      }
    }
    EXPECT_GE(compared, 15);
  }
}

// Rows that are kept compressed are cut as they are, with their scales.
TEST(WireFormats, RowsThatAreCutAgainStayAsTheyAre) {
  const ParallelSizes sizes{.dp = 4, .ep = 4};
  const Trained reference = trained_with(with_formats(sizes, kNarrow), tiny_moe());
  const double of_rounding = distance(trained_with(tiny_plan(sizes), tiny_moe()).gradients, reference.gradients);
  for (const char* schedule : {"schemoe", "comet"})
    for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull})
      for (const auto& [forward, backward] : {std::pair(2, 4), std::pair(4, 1), std::pair(1, 2)}) {
        Plan plan = with_formats(sizes, kNarrow);
        plan.moe_schedule = schedule;
        plan.moe_degree = forward;
        plan.moe_backward_degree = backward;
        plan.recompute = recompute;
        SCOPED_TRACE(plan.moe_schedule + " in " + std::to_string(forward) + " and " + std::to_string(backward));
        EXPECT_LT(distance(reference.gradients, trained_with(plan, tiny_moe()).gradients), of_rounding / kCloser);
      }
}

// Rows are rounded by themselves, so it is the same on how many ranks experts and layers are, and with recomputation.
TEST(WireFormats, LayoutsRoundTheSameRows) {
  const Trained reference = trained_with(with_formats({.dp = 2, .ep = 2}, kNarrow), tiny_moe());
  const double of_rounding = distance(trained_with(tiny_plan({}), tiny_moe()).gradients, reference.gradients);
  for (const ParallelSizes& sizes : {ParallelSizes{.dp = 4, .ep = 4}, ParallelSizes{.dp = 4, .ep = 2, .edp = 2},
                                     ParallelSizes{.pp = 2, .dp = 2, .ep = 2}})
    for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
      Plan plan = with_formats(sizes, kNarrow);
      plan.recompute = recompute;
      SCOPED_TRACE(plan_text(plan));
      EXPECT_LT(distance(reference.gradients, trained_with(plan, tiny_moe()).gradients), of_rounding / kCloser);
    }
}

ModelShape all_experts_for_all() {
  ModelShape model = tiny_moe();
  model.name = "tiny-moe without choice";
  model.kinds[1].moe->experts = model.kinds[1].moe->top_k = 4;
  return model;
}

TEST(WireFormats, AreAsCloseToOneRankAsTheirRoundingIs) {
  const ModelShape model = all_experts_for_all();
  Plan one = tiny_plan({});
  const Trained wide = trained_with(one, model);
  one.precision = "bf16";
  const Trained rounded = trained_with(one, model);
  const double of_bf16 = distance(wide.gradients, rounded.gradients);
  EXPECT_GT(of_bf16, 1e-4);
  EXPECT_LT(of_bf16, 0.02);
  for (const ParallelSizes& sizes :
       {ParallelSizes{.dp = 2, .ep = 2}, ParallelSizes{.dp = 4, .ep = 4},
        ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2}, ParallelSizes{.dp = 4, .ep = 4, .ep_on_node = 2}})
    for (const char* schedule : {"megatron-a2a", "parm-s2", "schemoe", "fsmoe", "fastermoe", "comet", "deepep"})
      for (const Formats& formats : {kNarrow, kDeepEp, kNarrowest})
        for (const char* precision : {"fp32", "bf16"}) {
          Plan plan = with_formats(sizes, formats);
          plan.moe_schedule = schedule;
          plan.precision = precision;
          if (!check_moe_schedule(**find_moe_schedule(schedule), plan, *model.first_moe())) continue;
          SCOPED_TRACE(plan_text(plan) + " " + schedule + " " + precision);
          const Trained trained = trained_with(plan, model);
          const bool fp8 = formats.dispatch == WireFormat::kFp8;
          const double allowed = kTimes * of_bf16 * (fp8 ? kFp8OverBf16 : 1);
          const double apart = distance(wide.gradients, trained.gradients);
          EXPECT_LT(apart, allowed);
          EXPECT_GT(apart, fp8 ? of_bf16 : 1e-6) << "nothing was rounded";
          EXPECT_NEAR(trained.losses[0], wide.losses[0], (fp8 ? kFp8OverBf16 : 1) * 1e-3 * wide.losses[0]);
          EXPECT_EQ(trained.weights.disagreement(), 0) << "replicas have gone apart";
        }
}

}  // namespace
}  // namespace moesim
