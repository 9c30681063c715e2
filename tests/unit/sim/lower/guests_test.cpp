// Guests of experts in a program: their weights come before they are needed, their gradients go home before those are summed, and
// both, with the memory they take, are counted from where the plan has them stand.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "sim/engine/price.hpp"
#include "sim/memory/memory_walk.hpp"
#include "sim/program/guest_traffic.hpp"
#include "tests/unit/cost/test_cluster.hpp"
#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

constexpr std::int64_t kUp = 64 * 64;  // gate and up of width 32
constexpr std::int64_t kDown = 32 * 64;
constexpr std::int64_t kExpert = kUp + kDown;

// 16 experts over EP 4 in 6 slots a device: its own four, the first one of the next device, and expert 15 but for where that is at home.
Plan plan_with_guests(int edp) {
  Plan plan = plan_of({.dp = 4 * edp, .ep = 4, .edp = edp}, 2);
  std::vector<std::int32_t> slots;
  for (std::int32_t device = 0; device < 4; ++device) {
    for (std::int32_t place = 0; place < 4; ++place) slots.push_back(4 * device + place);
    slots.push_back((4 * device + 4) % 16);
    slots.push_back(device == 3 ? kNoExpert : 15);
  }
  plan.expert_slots.expert_at.assign(7, slots);
  return plan;
}

const Tensor& weight(const Program& program, const Block& block, TensorId id) {
  return program.chunks[static_cast<std::size_t>(block.chunk)].tensors[id.index()];
}

// By weight with room for guests: the operations of this kind over this group that have it in their bucket.
std::map<TensorId, std::vector<std::int32_t>> places(const Program& program, const Block& block, OpKind kind,
                                                     GroupKind group) {
  std::map<TensorId, std::vector<std::int32_t>> found;
  for (std::size_t i = 0; i < block.ops.size(); ++i) {
    const Op& op = block.ops[i];
    if (op.kind != kind || op.group != group) continue;
    for (const TensorId id : program.buckets[static_cast<std::size_t>(op.bucket)].weights)
      if (weight(program, block, id).guests.room) found[id].push_back(static_cast<std::int32_t>(i));
  }
  return found;
}

TEST(Guests, GradientsGoHomeOnceBeforeTheyAreReduced) {
  for (const int edp : {1, 2})
    for (const ZeroStage zero : {ZeroStage::kNone, ZeroStage::kOptimizer, ZeroStage::kGradients})
      for (const std::int64_t bucket : {1LL, 60'000LL, 40'000'000LL}) {
        Plan plan = plan_with_guests(edp);
        plan.zero_expert = zero;
        plan.grad_bucket_elements = bucket;
        const Program program = lowered(plan, small_moe());
        for (const Block& block : program.blocks) {
          const bool last = block.kind == BlockKind::kBackwardLast;
          const bool every_pass = zero == ZeroStage::kGradients && edp > 1 && block.kind == BlockKind::kBackward;
          const auto home = places(program, block, OpKind::kReduceGrads, GroupKind::kEp);
          const auto reduced = places(program, block, OpKind::kReduceGrads, GroupKind::kEdp);
          EXPECT_EQ(home.size(), last || every_pass ? 14U : 0U) << block_kind_name(block.kind);  // two in each layer
          EXPECT_EQ(reduced.size(), edp > 1 ? home.size() : 0);
          for (const auto& [id, ops] : home) {
            ASSERT_EQ(ops.size(), 1U);
            const Op& returned = block.ops[static_cast<std::size_t>(ops[0])];
            // Behind the last operation that adds to the gradient.
            for (std::size_t i = 0; i < block.ops.size(); ++i)
              if (block.ops[i].phase == Phase::kBackwardWeight &&
                  weight(program, block, block.ops[i].outputs[0]).gradient_of == id) {
                EXPECT_LE(static_cast<std::int32_t>(i), returned.after);
              }
            if (edp > 1) {
              EXPECT_EQ(block.ops[static_cast<std::size_t>(reduced.at(id)[0])].after, ops[0]);
            }
          }
        }
      }
}

TEST(Guests, WeightsComeBeforeTheExpertsOfTheFirstPass) {
  for (const bool overlap : {true, false}) {
    Plan plan = plan_with_guests(2);
    plan.overlap_param_gather = overlap;
    const Program program = lowered(plan, small_moe());
    for (const Block& block : program.blocks) {
      const auto fetched = places(program, block, OpKind::kGatherParams, GroupKind::kEp);
      const auto gathered = places(program, block, OpKind::kGatherParams, GroupKind::kEdp);
      const bool here = block.kind == (overlap ? BlockKind::kForwardFirst : BlockKind::kPrologue);
      ASSERT_EQ(fetched.size(), here ? 14U : 0U) << block_kind_name(block.kind);
      std::set<LayerId> waited;
      for (std::size_t i = 0; i < block.ops.size(); ++i) {
        const Op& op = block.ops[i];
        if (op.kind != OpKind::kGroupedGemm || !here) continue;
        if (!waited.insert(op.layer).second) continue;  // the first of the layer stands for the others
        EXPECT_EQ(op.after, fetched.at(op.inputs[1])[0]);
      }
      EXPECT_EQ(waited.size(), here && overlap ? 7U : 0U);
      // The stream runs in order: what ZeRO cuts is whole before it is lent.
      for (const auto& [id, ops] : fetched) EXPECT_GT(ops[0], gathered.at(id)[0]);
    }
  }
}

TEST(Guests, BytesAreThoseOfThePlansLists) {
  const Program program = lowered(plan_with_guests(1), small_moe());
  int seen = 0;
  for (const Block& block : program.blocks)
    for (const Op& op : block.ops) {
      if (!moves_guests(op)) continue;
      ++seen;
      const bool out = op.kind == OpKind::kGatherParams;
      const std::int64_t layers = out ? 1 : 7;                    // fetched layer by layer, returned together
      const std::int64_t one = layers * kExpert * (out ? 2 : 4);  // BF16, FP32
      std::vector<std::int64_t> expected(16, 0);
      const auto lend = [&](int from, int to) {
        expected[static_cast<std::size_t>(out ? from * 4 + to : to * 4 + from)] += one;
      };
      for (int device = 0; device < 4; ++device) lend((device + 1) % 4, device);
      for (int device = 0; device < 3; ++device) lend(3, device);
      EXPECT_EQ(guest_bytes(program, op), expected);
    }
  EXPECT_EQ(seen, 7 + 1);
}

// The example of the header.
TEST(Guests, ExampleOfTheHeader) {
  ModelShape model = small_moe();
  model.layers = {1};
  model.kinds[1].moe->experts = 4;
  Plan plan = plan_of({.dp = 2, .ep = 2}, 1);
  plan.expert_slots = {{{0, 1, 2, 3, 0, kNoExpert}}};
  const Program program = lowered(plan, model);
  for (const Block& block : program.blocks)
    for (const Op& op : block.ops)
      if (moves_guests(op)) {
        const std::vector<std::int64_t> out = {0, 2 * kExpert, 0, 0};
        const std::vector<std::int64_t> back = {0, 0, 4 * kExpert, 0};
        EXPECT_EQ(guest_bytes(program, op), op.kind == OpKind::kGatherParams ? out : back);
      }
}

// Over the ports of the EP group, where device 3 lends most.
TEST(Guests, PricedAsOneExchangeOfThoseBytes) {
  const Program program = lowered(plan_with_guests(1), small_moe());
  const ClusterView view = two_tier_view(1, 4);
  const CostModel costs(view);
  const PricedProgram priced = price(program, costs, {});
  ASSERT_EQ(priced.entities.size(), 1U);
  const auto& table = priced.replay.durations[priced.replay.entities[0].durations];
  const GroupTopology& group = costs.topology(program.layout->group(GroupKind::kEp, RankId(0)));
  int seen = 0;
  for (std::size_t b = 0; b < program.blocks.size(); ++b)
    for (std::size_t i = 0; i < program.blocks[b].ops.size(); ++i) {
      const Op& op = program.blocks[b].ops[i];
      if (!moves_guests(op)) continue;
      ++seen;
      const std::vector<std::int64_t> bytes = guest_bytes(program, op);
      const double seconds = costs.all_to_all_v(group, {bytes, 4}).time.value();
      EXPECT_GT(seconds, 0);
      EXPECT_NEAR(static_cast<double>(table[priced.replay.blocks[b].ops[i].duration]), seconds * kPicosecondsPerSecond,
                  1);
    }
  EXPECT_EQ(seen, 8);
}

// Before loads are made for a schedule that counts slots as experts.
TEST(Guests, AreRefusedBeforeLoadsAreMade) {
  Plan plan = plan_with_guests(1);
  for (const char* schedule : {"deepep", "megatron-allgather"}) {
    plan.moe_schedule = schedule;
    const Result<Program> program =
        lower(plan, small_moe(), std::make_shared<const Layout>(Layout::make(plan.layout, 4).value()),
              skewed_loads(plan, small_moe(), 4, 1, 3));
    ASSERT_FALSE(program) << schedule;
    EXPECT_EQ(program.error().kind, ErrorKind::kInvalidInput);
    EXPECT_EQ(program.error().what,
              std::string(schedule) + " does not deal a source's token copies out over several slots of an expert");
  }
}

// Six matrices of each kind on a rank, four of them with a state.
TEST(Guests, TakeMemoryForWeightsAndGradientsAlone) {
  Plan without = plan_with_guests(2);
  without.expert_slots = {};
  for (const ZeroStage zero : {ZeroStage::kNone, ZeroStage::kOptimizer, ZeroStage::kGradients}) {
    Plan plan = plan_with_guests(2);
    plan.zero_expert = without.zero_expert = zero;
    const StageMemory four = walk_memory(lowered(without, small_moe())).stages.front();
    const StageMemory six = walk_memory(lowered(plan, small_moe())).stages.front();
    EXPECT_EQ(six.weights - four.weights, Bytes(2 * 7 * 2 * kExpert));
    // With ZeRO 2 a rank keeps its part of what is reduced; guests' gradients pass with the others.
    EXPECT_EQ(six.gradients - four.gradients, Bytes(zero == ZeroStage::kGradients ? 0 : 4 * 7 * 2 * kExpert));
    EXPECT_EQ(six.optimizer, four.optimizer);
  }
}

}  // namespace
}  // namespace moesim
