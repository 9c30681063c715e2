// A schedule of a program's own, as CONTRIBUTING.md has it: one object and one line that puts it on the list. It is then lowered,
// priced, followed in memory and executed like those of the library, and trains what one rank trains.
#include <gtest/gtest.h>

#include <algorithm>

#include "models/cluster/cluster_source.hpp"
#include "sim/layer/compare_layers.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "tests/unit/exec/run/run_testing.hpp"

namespace moesim {
namespace {

// Two halves of every expert's copies; the second goes first.
class SecondHalfFirst final : public MoeSchedule {
 public:
  std::string_view name() const override { return "toy"; }
  std::string_view description() const override { return "the second half of the copies first"; }
  Status check(const Plan& plan, const MoeShape&) const override {
    if (plan.sizes().ep > 1 && plan.sizes().esp == 1 && (plan.sizes().tp == 1 || plan.sequence_parallel)) return {};
    return usage_error("knows EP alone", "set ep above 1 and esp to 1");
  }
  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    const TensorId gate = b.gate(x);
    const std::vector<RoutedTokens> halves = b.cut(b.permute(x, gate), CutBy::kShare, 2);
    const auto there_and_back = [&b](const RoutedTokens& half) {
      const RoutedTokens arrived = b.dispatch(half, GroupKind::kEp);
      const bool mixed = b.local_experts() > 1;
      const TensorId computed = b.experts(mixed ? b.sort_by_expert(arrived) : arrived);
      return b.combine(mixed ? b.sort_by_source(computed) : computed, GroupKind::kEp);
    };
    const TensorId second = there_and_back(halves[1]);
    const TensorId first = there_and_back(halves[0]);
    return b.add_shared_experts(b.unpermute(b.join({first, second}), gate), x);
  }
};

const SecondHalfFirst kToy;

void list_the_toy() {
  if (!find_moe_schedule(kToy.name())) add_moe_schedule(kToy);
}

TEST(ToySchedule, IsPricedAndFollowedInMemory) {
  list_the_toy();
  const ClusterView view = compile(load_cluster("preset:h100", 1).value()).value();
  const CostModel costs(view);
  Plan plan = tiny_plan({.dp = 8, .ep = 4, .edp = 2});
  const MoeShape moe{.experts = 8, .top_k = 2, .expert = {.width = 2048, .gated = true}, .shared = {}};
  const LayerCase layer = make_layer_case(one_layer_model(1024, moe), plan, {}).value();
  const auto outcomes = compare_schedules(layer, costs, moe_schedules(), {});
  ASSERT_TRUE(outcomes.has_value());
  const ScheduleOutcome& toy = outcomes->back();
  const ScheduleOutcome& plain = outcomes->front();
  ASSERT_EQ(toy.schedule->name(), kToy.name());
  ASSERT_TRUE(toy.refused.empty()) << toy.refused;
  EXPECT_GT(toy.result.times.total(), Seconds(0));
  EXPECT_GT(toy.result.memory.peak, Bytes(0));
  // The same copies over the same links, the same products.
  EXPECT_DOUBLE_EQ(toy.result.sent_at(0).value(), plain.result.sent_at(0).value());
  EXPECT_DOUBLE_EQ(toy.result.flops().value(), plain.result.flops().value());
}

TEST(ToySchedule, TrainsWhatOneRankTrains) {
  list_the_toy();
  const Result<Trained> one = train_all(tiny_plan({}), tiny_moe(), 1);
  ASSERT_TRUE(one.has_value()) << one.error().what;
  for (const ParallelSizes& sizes :
       {ParallelSizes{.dp = 4, .ep = 4}, ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .edp = 2}}) {
    Plan plan = tiny_plan(sizes);
    plan.moe_schedule = kToy.name();
    const Result<Trained> many = train_all(plan, tiny_moe(), 1);
    ASSERT_TRUE(many.has_value()) << many.error().what;
    EXPECT_NEAR(many->losses[0], one->losses[0], 2e-6 * one->losses[0]);
    EXPECT_LT(difference(one->gradients, many->gradients).largest, 2e-5);
  }
}

}  // namespace
}  // namespace moesim
