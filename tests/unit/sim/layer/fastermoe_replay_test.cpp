// FasterMoE's order on two in-order queues, worked out apart from the Program's dependencies, against the replay.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "sim/engine/op_cost.hpp"
#include "sim/layer/compare_layers.hpp"
#include "sim/lower/shadow_counts.hpp"
#include "sim/simulate/moe_choice.hpp"
#include "tests/unit/sim/layer/layer_testing.hpp"
#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

// 8 ranks with 2 experts each; hot expert 5 gets 16 of 32 shares, the others 1 or 2.
LayerCase skewed_layer() {
  auto layer = make_layer_case(one_layer_model(1024, layer_experts(16)), layer_plan(8, 1, 1), {});
  EXPECT_TRUE(layer.has_value());
  RoutedLoads loads = *layer->loads;
  loads.balanced = false;
  loads.sources = 8;
  loads.counts.clear();
  for (int source = 0; source < 8; ++source)
    for (int expert = 0; expert < 16; ++expert)
      loads.counts.push_back(expert == 5 ? 1024 : expert == source ? 124 : 60 + 4 * (expert % 3));
  layer->loads = std::make_shared<const RoutedLoads>(std::move(loads));
  return std::move(*layer);
}

Program faster_layer(const LayerCase& layer, int runs, int shadows) {
  Plan plan = plan_of_schedule(layer, "fastermoe", LayerBoundary::kWhole).value();
  plan.moe_degree = runs;
  plan.moe_shadows = shadows;
  auto program = lower_layer(layer, plan, {.passes = LayerPasses::kForward});
  EXPECT_TRUE(program.has_value()) << (program ? std::string() : program.error().what);
  return program ? std::move(*program) : Program{};
}

struct Played {
  std::vector<Picoseconds> durations;  // by operation
  Picoseconds end = 0;
};
Played played(const Program& program, const CostModel& costs) {
  const PricedProgram priced = price(program, costs, {});
  const ReplayEntity& entity = priced.replay.entities.front();
  Played result;
  for (const ReplayOp& op : priced.replay.blocks.front().ops)
    result.durations.push_back(priced.replay.durations[entity.durations][op.duration]);
  ReplayOptions options;
  options.record_intervals = true;
  options.contention = false;
  result.end = replay(priced.replay, options).end;
  return result;
}

// S_0 ... S_{m-1}, weights, R_0 ... R_{m-1} on the network; C_0 ... C_{m-1}, shadows on the device; C_j after S_j, R_j after C_j,
// each batch of shadows after its weights.
struct Recursion {
  Picoseconds before = 0, after = 0;  // gate, sort and cut; join and sum
  std::vector<Picoseconds> send, back, compute, weights, shadow;
  [[nodiscard]] Picoseconds end() const {
    Picoseconds network = before;
    Picoseconds device = before;
    std::vector<Picoseconds> arrived, fetched;
    for (const Picoseconds time : send) arrived.push_back(network += time);
    for (const Picoseconds time : weights) fetched.push_back(network += time);
    for (std::size_t j = 0; j < send.size(); ++j) {
      device = std::max(device, arrived[j]) + compute[j];
      network = std::max(network, device) + back[j];
    }
    for (std::size_t s = 0; s < weights.size(); ++s) device = std::max(device, fetched[s]) + shadow[s];
    return std::max(network, device) + after;
  }
};
Picoseconds sum(const std::vector<Picoseconds>& times) {
  return std::accumulate(times.begin(), times.end(), Picoseconds{0});
}

Recursion recursion_of(const Program& program, const Played& played) {
  const std::vector<Op>& ops = program.blocks.front().ops;
  const Chunk& chunk = program.chunks.front();
  Recursion r;
  std::map<RowPiece, Picoseconds> work;
  bool travelling = false;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const Picoseconds time = played.durations[i];
    const RowPiece piece = piece_of(ops[i], chunk);
    switch (ops[i].kind) {
      case OpKind::kDispatch:
        r.send.push_back(time);
        travelling = true;
        break;
      case OpKind::kFetchExperts: r.weights.push_back(time); break;
      case OpKind::kCombine: r.back.push_back(time); break;
      default:
        if (!piece.whole())
          work[piece] += time;
        else
          (travelling ? r.after : r.before) += time;
    }
  }
  for (const auto& [piece, time] : work) (piece.by == CutBy::kShadow ? r.shadow : r.compute).push_back(time);
  return r;
}

TEST(FasterMoe, ReplayIsTheRecursionOfTwoQueues) {
  const Testbed bed = testbed(2);
  for (const int runs : {1, 2, 4, 8})
    for (const int shadows : {0, 1, 3, 8, 12}) {
      if (runs == 1 && shadows == 0) continue;
      const Program program = faster_layer(skewed_layer(), runs, shadows);
      const Played replayed = played(program, *bed.costs);
      const Recursion r = recursion_of(program, replayed);
      EXPECT_EQ(r.send.size(), static_cast<std::size_t>(runs));
      EXPECT_EQ(r.weights.size(), static_cast<std::size_t>(std::min(shadows, 8)));
      EXPECT_EQ(replayed.end, r.end()) << runs << " runs, " << shadows << " shadows";
      const Picoseconds network = sum(r.send) + sum(r.weights) + sum(r.back);
      const Picoseconds device = r.send.front() + sum(r.compute) + r.back.back();
      EXPECT_GE(replayed.end, r.before + std::max(network, device) + r.after);
    }
}

// The hot expert's rank has 8 * 1024 of all copies to compute; with it shadowed each source has its own 1024.
TEST(FasterMoe, AShadowedHotExpertMakesTheLayerFaster) {
  const Testbed bed = testbed(2);
  const Picoseconds without = played(faster_layer(skewed_layer(), 2, 0), *bed.costs).end;
  const Picoseconds with = played(faster_layer(skewed_layer(), 2, 1), *bed.costs).end;
  EXPECT_LT(with, without);
  const Picoseconds all = played(faster_layer(skewed_layer(), 2, 16), *bed.costs).end;
  EXPECT_GT(all, with);
}

TEST(ShadowCounts, WhereTheScheduleShadowsAndTheGateIsKnown) {
  const LayerCase layer = skewed_layer();
  const MoeShape& shape = *layer.model.first_moe();
  const auto counts = [&](std::string_view name, const RoutedLoads& loads) {
    return shadow_counts(*find_moe_schedule(name).value(), layer.plan, shape, loads);
  };
  EXPECT_EQ(counts("fastermoe", *layer.loads), (std::vector<int>{0, 1, 2, 3, 4, 6, 8, 12, 16}));
  EXPECT_EQ(counts("pipemoe", *layer.loads), std::vector<int>{0});
  EXPECT_EQ(counts("janus", *layer.loads), std::vector<int>{0});
  EXPECT_EQ(counts("fastermoe", balanced_routed_loads(1, 16, 2, 1024)), std::vector<int>{0});
}

TEST(ShadowCounts, OfWholePlansAFewHotExperts) {
  MoeShape shape = *skewed_layer().model.first_moe();
  EXPECT_EQ(few_shadows(shape), (std::vector<int>{0, 1, 2}));
  shape.experts = 256;
  EXPECT_EQ(few_shadows(shape), (std::vector<int>{0, 1, 2, 4}));
  shape.experts = 4;
  EXPECT_EQ(few_shadows(shape), std::vector<int>{0});
}

TEST(ShadowCounts, OfThoseWantedTheOnesThatThePlanCanHave) {
  const LayerCase layer = skewed_layer();
  const MoeShape& shape = *layer.model.first_moe();
  const auto possible = [&](std::string_view name, int ep, std::vector<int> wanted) {
    Plan plan = layer.plan;
    plan.layout.sizes.ep = ep;
    return possible_shadows(*find_moe_schedule(name).value(), plan, shape, wanted);
  };
  EXPECT_EQ(possible("fastermoe", 8, {0, 4, 16, 17}), (std::vector<int>{0, 4, 16}));
  EXPECT_EQ(possible("fastermoe", 8, {2}), std::vector<int>{2});
  EXPECT_EQ(possible("fastermoe", 1, {2}), std::vector<int>{0});
  EXPECT_EQ(possible("megatron-a2a", 8, {0, 1}), std::vector<int>{0});
}

TEST(ShadowCounts, ALayerIsListedWithItsBest) {
  const Testbed bed = testbed(2);
  const LayerCase layer = skewed_layer();
  const MoeSchedule* const faster = find_moe_schedule("fastermoe").value();
  const auto outcomes = compare_schedules(layer, *bed.costs, {&faster, 1}, {});
  ASSERT_TRUE(outcomes.has_value()) << outcomes.error().what;
  const ScheduleOutcome& outcome = outcomes->front();
  EXPECT_GT(outcome.shadows, 0);
  EXPECT_EQ(outcome.program.plan.moe_shadows, outcome.shadows);
  for (const DegreeOutcome& one : outcome.degrees) EXPECT_GE(one.times.total(), outcome.result.times.total());
  for (const int shadows : {0, 1, 2, 4, 16}) {
    Plan plan = plan_of_schedule(layer, "fastermoe", LayerBoundary::kWhole).value();
    plan.moe_degree = outcome.degree;
    plan.moe_backward_degree = outcome.backward_degree;
    plan.moe_shadows = shadows;
    const auto played = play_layer(lower_layer(layer, plan, {}).value(), *bed.costs);
    ASSERT_TRUE(played.has_value());
    EXPECT_GE(played->times.total(), outcome.result.times.total()) << shadows;
  }
}

// Other schedules have no shadows, and are compared without.
TEST(MoeChoice, OthersThanTheOneThatShadowsCanBeLookedAt) {
  const Testbed bed = testbed(2);
  Plan plan = plan_of({.dp = 8, .ep = 8}, 1);
  plan.moe_schedule = "fastermoe";
  plan.moe_shadows = 2;
  const auto found = moe_alternatives(plan, small_moe(), *bed.costs, nullptr);
  ASSERT_TRUE(found.has_value()) << found.error().what;
  EXPECT_GT(found->size(), 3U);
  EXPECT_EQ(std::ranges::count(*found, true, &MoeAlternative::own), 1);
}

}  // namespace
}  // namespace moesim
