// BF16 on many ranks against FP32 on one. How far apart they may be, one rank tells: what BF16 itself changes of each gradient.
// Layouts round at other places (partial sums are rounded before they are added), so twice as much is allowed; a term that is
// missing or counted twice is some ten times more. Every token goes to every expert: with a choice, rounding a gate's
// logits would choose otherwise here and there.
#include <gtest/gtest.h>

#include <array>
#include <map>

#include "sim/pipeline/schedules.hpp"
#include "tests/unit/exec/run/run_testing.hpp"

namespace moesim {
namespace {

ModelShape all_experts_for_all() {
  ModelShape model = tiny_moe();
  model.name = "tiny-moe without choice";
  model.kinds[1].moe->experts = model.kinds[1].moe->top_k = 4;
  model.kinds[0].attention.qk_norm = true;
  return model;
}

// Root of the sum of squares of the difference, by matrix, relative to that of the first.
std::map<MatrixId, double> distances(const WholeMatrices& a, const WholeMatrices& b) {
  std::map<MatrixId, double> found;
  for (const auto& [id, matrix] : a.matrices()) {
    const auto other = b.matrices().find(id);
    if (other == b.matrices().end() || other->second.known != matrix.known) {
      found[id] = 1e9;
      continue;
    }
    double apart = 0;
    double whole = 1e-30;
    for (std::size_t r = 0; r < matrix.values.size(); ++r)
      for (std::size_t c = 0; c < matrix.values[r].size(); ++c) {
        const double value = *matrix.values[r][c];
        const double difference = value - static_cast<double>(*other->second.values[r][c]);
        whole += value * value;
        apart += difference * difference;
      }
    found[id] = std::isnan(apart) ? 1e9 : std::sqrt(apart / whole);
  }
  return found;
}

struct Narrow {
  Trained wide;                        // FP32 on one rank
  std::map<MatrixId, double> of_bf16;  // what BF16 on one rank changes of the gradients
  double of_loss = 0;
};
const Narrow& one_rank() {
  static const Narrow known = [] {
    Narrow narrow;
    Plan plan = tiny_plan({});
    narrow.wide = train_all(plan, all_experts_for_all(), 1).value();
    plan.precision = "bf16";
    const Trained rounded = train_all(plan, all_experts_for_all(), 1).value();
    narrow.of_bf16 = distances(narrow.wide.gradients, rounded.gradients);
    narrow.of_loss = std::abs(narrow.wide.losses[0] - rounded.losses[0]);
    return narrow;
  }();
  return known;
}

constexpr double kTimes = 2;

void expect_as_close_as_one_rank(Plan plan) {
  plan.precision = "bf16";
  SCOPED_TRACE(plan_text(plan));
  const Narrow& one = one_rank();
  const Result<Trained> many = train_all(plan, all_experts_for_all(), 1);
  ASSERT_TRUE(many.has_value()) << many.error().what;
  EXPECT_NEAR(many->losses[0], one.wide.losses[0], 1e-3 * one.wide.losses[0]);
  EXPECT_EQ(many->weights.disagreement(), 0) << "replicas have gone apart";
  for (const auto& [id, distance] : distances(one.wide.gradients, many->gradients))
    EXPECT_LT(distance, kTimes * one.of_bf16.at(id)) << "gradient of " << matrix_text(id);
}

// The bound is worth something: BF16 changes gradients, and by a few parts in a hundred at most.
TEST(Bf16, ChangesGradientsALittle) {
  for (const auto& [id, distance] : one_rank().of_bf16) {
    EXPECT_GT(distance, 1e-4) << matrix_text(id);
    EXPECT_LT(distance, 0.05) << matrix_text(id);
  }
  EXPECT_LT(one_rank().of_loss, 1e-3 * one_rank().wide.losses[0]);
}

TEST(Bf16, GuestsRoundLikeOneRank) {
  Plan plan = tiny_plan({.dp = 4, .ep = 2, .edp = 2});
  plan.zero_expert = ZeroStage::kOptimizer;
  plan.expert_slots.expert_at.assign(3, {0, 1, 2, 2, 3, 0});
  expect_as_close_as_one_rank(plan);
}

// Each size of each dimension with each recompute policy and each ZeRO stage somewhere.
TEST(Bf16, LayoutsRoundLikeOneRank) {
  const std::vector<ParallelSizes> layouts = {
      {.dp = 2, .ep = 2},
      {.tp = 2, .edp = 2},
      {.dp = 2, .esp = 2},
      {.cp = 2, .ep = 2},
      {.pp = 2, .dp = 2, .ep = 2},
      {.tp = 4, .ep = 4},
      {.dp = 4, .ep = 4},
      {.dp = 4, .ep = 2, .edp = 2},
      {.tp = 2, .dp = 2, .ep = 2, .esp = 2},
      {.pp = 4},
      {.tp = 2, .pp = 2, .dp = 2, .ep = 4},
      {.tp = 2, .cp = 2, .dp = 2, .ep = 2, .esp = 2, .edp = 2},
  };
  constexpr std::array kRecomputes = {Recompute::kNone, Recompute::kSelective, Recompute::kFull};
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    Plan plan = tiny_plan(layouts[i]);
    plan.recompute = kRecomputes[i % 3];
    plan.zero_dense = static_cast<ZeroStage>(i % 4);
    plan.zero_expert = static_cast<ZeroStage>((i + 1) % 4);
    expect_as_close_as_one_rank(plan);
  }
}

TEST(Bf16, PipelineSchedulesRoundLikeOneRank) {
  int next = 0;
  for (const PipelineSchedule* schedule : pipeline_schedules()) {
    Plan plan = tiny_plan({.pp = 2, .vpp = chunks_of(*schedule, 4), .dp = 2, .ep = 2});
    plan.pipeline = schedule->name();
    plan.zero_dense = plan.zero_expert = static_cast<ZeroStage>(++next % 4);
    expect_as_close_as_one_rank(plan);
  }
}

// Weights travel as BF16, their gradients return as FP32.
TEST(Bf16, ShadowedExpertsRoundLikeOneRank) {
  for (const ParallelSizes& sizes : {ParallelSizes{.dp = 2, .ep = 2}, ParallelSizes{.dp = 4, .ep = 4}})
    for (const int shadows : {1, 4}) {
      Plan plan = tiny_plan(sizes);
      plan.moe_schedule = "fastermoe";
      plan.moe_shadows = shadows;
      expect_as_close_as_one_rank(plan);
    }
}

// What relays and ranks made of a token is rounded before it is added up.
TEST(Bf16, TokensThatVisitRoundLikeOneRank) {
  for (const int on_node : {1, 2}) {
    Plan plan = tiny_plan({.dp = 4, .ep = 4, .ep_on_node = on_node});
    plan.moe_schedule = "deepep";
    expect_as_close_as_one_rank(plan);
  }
}

TEST(Bf16, WithoutSequenceParallelism) {
  ModelShape model = tiny_dense();
  Plan plan = tiny_plan({});
  const Trained wide = train_all(plan, model, 1).value();
  plan.precision = "bf16";
  const auto rounding = distances(wide.gradients, train_all(plan, model, 1).value().gradients);
  plan.layout.sizes = {.tp = 2, .dp = 2, .edp = 4};
  plan.sequence_parallel = false;
  const Result<Trained> many = train_all(plan, model, 1);
  ASSERT_TRUE(many.has_value()) << many.error().what;
  for (const auto& [id, distance] : distances(wide.gradients, many->gradients))
    EXPECT_LT(distance, kTimes * rounding.at(id)) << "gradient of " << matrix_text(id);
}

}  // namespace
}  // namespace moesim
