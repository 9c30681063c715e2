// The schedule deepep as a program: its moves, its pieces, what it refuses, and its bytes between nodes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "models/cluster/cluster_source.hpp"
#include "sim/layer/one_layer.hpp"
#include "sim/layer/play_layer.hpp"
#include "sim/lower/ep_nodes.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

Plan deepep_plan(int ep, int on_node, int degree) {
  Plan plan = plan_of({.dp = ep, .ep = ep, .ep_on_node = on_node}, 2);
  plan.moe_schedule = "deepep";
  plan.moe_degree = degree;
  return plan;
}

struct RowMove {
  OpKind kind;
  RowCount in, out;
  GroupKind group;
  Stream stream;
  bool operator==(const RowMove&) const = default;
};

// What moves or makes rows of a layer, without splits and joins of columns and sums of gradients.
std::vector<RowMove> row_moves(const Program& program, BlockKind kind) {
  std::vector<RowMove> moves;
  for (const Block& block : program.blocks) {
    if (block.kind != kind) continue;
    const Chunk& chunk = program.chunks[static_cast<std::size_t>(block.chunk)];
    for (const Op& op : block.ops)
      if (op.layer == LayerId(3) && op.name.starts_with("moe.") && op.kind != OpKind::kSplitColumns &&
          op.kind != OpKind::kJoinColumns && op.kind != OpKind::kAdd)
        moves.push_back({op.kind, chunk.tensors[op.inputs[0].index()].rows, chunk.tensors[op.outputs[0].index()].rows,
                         op.group, op.stream});
    break;
  }
  return moves;
}

// 64 tokens, 2 of 16 experts, 4 of them on a member: C(12, 2) / C(16, 2) = 66 / 120 miss it, 28.8 visit it, in all 4 * 29 rows.
constexpr RowCount kOwnTokens{64};
constexpr RowCount kLocalCopies{128, RowSource::kArrivedShards};
constexpr RowCount kVisitingRows{116, RowSource::kVisiting};
constexpr auto kOnDevice = Stream::kCompute;

TEST(DeepEp, WithOneHopSendsATokenOnceToARank) {
  const RowCount spread{116, RowSource::kSpread};
  for (const int on_node : {1, 4}) {
    const Program program = lowered(deepep_plan(4, on_node, 0), small_moe());
    const std::vector<RowMove> expected = {
        {OpKind::kSpread, kOwnTokens, spread, GroupKind::kSelf, kOnDevice},
        {OpKind::kDispatch, spread, kVisitingRows, GroupKind::kEp, Stream::kEp},
        {OpKind::kPermute, kVisitingRows, kLocalCopies, GroupKind::kSelf, kOnDevice},
        {OpKind::kUnpermute, kLocalCopies, kVisitingRows, GroupKind::kSelf, kOnDevice},
        {OpKind::kCombine, kVisitingRows, spread, GroupKind::kEp, Stream::kEp},
        {OpKind::kSumSpread, spread, kOwnTokens, GroupKind::kSelf, kOnDevice}};
    EXPECT_TRUE(row_moves(program, BlockKind::kForward) == expected);
    const std::vector<RowMove> backward = {
        {OpKind::kSpread, kOwnTokens, spread, GroupKind::kSelf, kOnDevice},
        {OpKind::kDispatch, spread, kVisitingRows, GroupKind::kEp, Stream::kEp},
        {OpKind::kUnpermuteGrad, kVisitingRows, kLocalCopies, GroupKind::kSelf, kOnDevice},
        {OpKind::kPermuteGrad, kLocalCopies, kVisitingRows, GroupKind::kSelf, kOnDevice},
        {OpKind::kCombine, kVisitingRows, spread, GroupKind::kEp, Stream::kEp},
        {OpKind::kSumSpread, spread, kOwnTokens, GroupKind::kSelf, kOnDevice}};
    EXPECT_TRUE(row_moves(program, BlockKind::kBackward) == backward);
  }
}

// Of a node with two members 8 of 16 experts: C(8, 2) / 120 = 28 / 120 miss it, 49.07 visit it: 2 * 49 rows across.
TEST(DeepEp, WithTwoHopsCrossesToANodeOnce) {
  const RowCount spread{98, RowSource::kSpread};
  const RowCount relayed{98, RowSource::kRelayed};
  const RowCount handed_on{116, RowSource::kRelaySpread};
  const Program program = lowered(deepep_plan(4, 2, 1), small_moe());
  const std::vector<RowMove> expected = {
      {OpKind::kSpread, kOwnTokens, spread, GroupKind::kSelf, kOnDevice},
      {OpKind::kDispatch, spread, relayed, GroupKind::kEpAcross, Stream::kEp},
      {OpKind::kSpread, relayed, handed_on, GroupKind::kSelf, kOnDevice},
      {OpKind::kDispatch, handed_on, kVisitingRows, GroupKind::kEpInside, Stream::kEpInside},
      {OpKind::kPermute, kVisitingRows, kLocalCopies, GroupKind::kSelf, kOnDevice},
      {OpKind::kUnpermute, kLocalCopies, kVisitingRows, GroupKind::kSelf, kOnDevice},
      {OpKind::kCombine, kVisitingRows, handed_on, GroupKind::kEpInside, Stream::kEpInside},
      {OpKind::kSumSpread, handed_on, relayed, GroupKind::kSelf, kOnDevice},
      {OpKind::kCombine, relayed, spread, GroupKind::kEpAcross, Stream::kEp},
      {OpKind::kSumSpread, spread, kOwnTokens, GroupKind::kSelf, kOnDevice}};
  EXPECT_TRUE(row_moves(program, BlockKind::kForward) == expected);
}

std::vector<std::string_view> exchanges_of(const Program& program, BlockKind kind) {
  std::vector<std::string_view> names;
  for (const Block& block : program.blocks) {
    if (block.kind != kind) continue;
    for (const Op& op : block.ops)
      if (op.layer == LayerId(3) && op.name.starts_with("moe.") && is_communication(op.kind)) names.push_back(op.name);
    break;
  }
  return names;
}

// Each piece is handed on while the next crosses, and the gate's result goes with the first.
TEST(DeepEp, TravelsInPiecesOfColumns) {
  const Program program = lowered(deepep_plan(4, 2, 2), small_moe());
  EXPECT_THAT(exchanges_of(program, BlockKind::kForward),
              testing::ElementsAre("moe.dispatch", "moe.dispatch", "moe.hand_on", "moe.hand_on", "moe.hand_back",
                                   "moe.hand_back", "moe.combine", "moe.combine"));
  EXPECT_THAT(exchanges_of(program, BlockKind::kBackward),
              testing::ElementsAre("moe.combine", "moe.combine", "moe.hand_back", "moe.hand_back", "moe.hand_on",
                                   "moe.hand_on", "moe.dispatch", "moe.dispatch"));
  const Block& forward = *std::ranges::find(program.blocks, BlockKind::kForward, &Block::kind);
  std::vector<int> operands;
  for (const Op& op : forward.ops)
    if (op.layer == LayerId(3) && op.kind == OpKind::kDispatch) operands.push_back(op.inputs.size());
  EXPECT_THAT(operands, testing::ElementsAre(2, 1, 2, 1));
}

TEST(DeepEp, RefusesWhatItHasNoPlaceFor) {
  const MoeShape shape = *small_moe().first_moe();
  const MoeSchedule& schedule = *find_moe_schedule("deepep").value();
  Plan plan = deepep_plan(4, 2, 0);
  EXPECT_TRUE(check_moe_schedule(schedule, plan, shape).has_value());
  plan.layout.sizes.esp = 2;
  EXPECT_THAT(schedule.check(plan, shape).error().what, testing::HasSubstr("deepep knows no shards of experts"));
  EXPECT_THAT(schedule.check(plan, shape).error().hint, testing::HasSubstr("set esp to 1"));
  plan = deepep_plan(4, 2, 0);
  plan.capacity_factor = 1;
  EXPECT_THAT(schedule.check(plan, shape).error().hint, testing::HasSubstr("\"capacity_factor\": 0"));
  plan = deepep_plan(4, 2, 0);
  plan.layout.sizes.tp = 2;
  plan.sequence_parallel = false;
  EXPECT_THAT(schedule.check(plan, shape).error().hint, testing::HasSubstr("\"sequence_parallel\": true"));
  plan = deepep_plan(4, 2, 4);
  plan.moe_schedule = "pipemoe";
  const Status other = check_moe_schedule(*find_moe_schedule("pipemoe").value(), plan, shape);
  EXPECT_THAT(other.error().what, testing::HasSubstr("pipemoe knows no nodes of an EP group, but ep_on_node is 2"));
  EXPECT_EQ(schedule.same_as(deepep_plan(1, 1, 0), shape), "megatron-a2a");
  EXPECT_EQ(schedule.same_as(deepep_plan(4, 1, 0), shape), "");
  EXPECT_THAT(schedule.degrees(deepep_plan(4, 2, 0)), testing::ElementsAre(4, 1, 2, 8));
  EXPECT_THAT(schedule.degrees(deepep_plan(4, 4, 0)), testing::ElementsAre(1));
}

TEST(DeepEp, TakesTheNodesOfTheCluster) {
  const ClusterView view = compile(load_cluster("preset:h100", 2).value()).value();
  const auto on_node = [&](const ParallelSizes& sizes, std::string_view schedule) {
    Plan plan = plan_of(sizes, 2);
    plan.moe_schedule = schedule;
    return with_ep_nodes(plan, view).value().sizes().ep_on_node;
  };
  EXPECT_EQ(on_node({.dp = 16, .ep = 16}, "deepep"), 8);
  EXPECT_EQ(on_node({.dp = 16, .ep = 4, .edp = 4}, "deepep"), 4);
  EXPECT_EQ(on_node({.pp = 2, .dp = 8, .ep = 8}, "deepep"), 8);
  EXPECT_EQ(on_node({.dp = 16, .ep = 16}, "megatron-a2a"), 1);
  // Over every second rank four members stand on a node.
  LayoutSpec spec;
  spec.sizes = {.dp = 16, .ep = 8, .edp = 2};
  spec.order = "tp-cp-dp-ep-pp";
  EXPECT_EQ(ep_members_on_node(Layout::make(spec, 16).value(), view), 4);
}

// 2 nodes of 8, one expert on each rank, two for a token, 240 tokens of 64 columns in BF16. Of 16 experts a node has 8: 240 * 92 / 120
// = 184 tokens of a rank cross to the other node, with 4 FP32 numbers of the gate on the way there, 128 bytes back.
// A copy for each expert: 480 copies, 240 of which cross, with one weight.
TEST(DeepEp, BytesBetweenNodesAreThoseOfTheVisits) {
  const ClusterView view = compile(load_cluster("preset:h100", 2).value()).value();
  const CostModel costs(view);
  Plan plan = plan_of({.dp = 16, .ep = 16, .ep_on_node = 8}, 1);
  plan.seq_length = 240;
  const MoeShape moe{.experts = 16, .top_k = 2, .expert = {.width = 32}, .shared = {}};
  const LayerCase layer = make_layer_case(one_layer_model(64, moe), plan, {}).value();
  const int outer = static_cast<int>(view.tiers().size()) - 1;
  const auto sent = [&](std::string_view schedule) {
    std::int64_t bytes = 0;
    const LayerOptions options{.passes = LayerPasses::kForward};
    const LayerResult result = play_layer(lower_layer(layer, schedule, options).value(), costs).value();
    for (int tier = 1; tier <= outer; ++tier) bytes += result.sent_at(tier).count();
    return bytes;
  };
  EXPECT_EQ(sent("deepep"), 184 * (128 + 16) + 184 * 128);
  EXPECT_EQ(sent("megatron-a2a"), 240 * (128 + 4) + 240 * 128);
}

}  // namespace
}  // namespace moesim
