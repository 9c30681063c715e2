// MoE layers whose backward pass has another number of pieces than the forward pass: the forward pass of the one, the backward pass of
// the other, and between them what is cut again.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "models/cluster/cluster_source.hpp"
#include "sim/engine/op_cost.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

struct Pieces {
  int forward = 0, backward = 0;
};

Plan cut_plan(std::string_view schedule, const ParallelSizes& sizes, const Pieces& pieces,
              Recompute recompute = Recompute::kNone) {
  Plan plan = plan_of(sizes, 2);
  plan.moe_schedule = schedule;
  plan.moe_degree = pieces.forward;
  plan.moe_backward_degree = pieces.backward;
  plan.recompute = recompute;
  return plan;
}

const Block& pass_of(const Program& program, BlockKind kind) {
  const auto found = std::find_if(program.blocks.begin(), program.blocks.end(),
                                  [kind](const Block& block) { return block.kind == kind; });
  EXPECT_NE(found, program.blocks.end());
  return *found;
}

std::vector<std::string> names_of(const Block& block, bool with_recuts) {
  std::vector<std::string> names;
  for (const Op& op : block.ops)
    if (with_recuts || op.kind != OpKind::kRecut)
      names.push_back(fmt::format("{} {} {}", phase_name(op.phase), op_kind_name(op.kind), op.name));
  return names;
}

int count_of(const Block& block, OpKind kind) {
  return static_cast<int>(std::ranges::count(block.ops, kind, &Op::kind));
}

std::set<std::string> weights_of(const Program& program) {
  std::set<std::string> weights;
  for (const Tensor& tensor : program.chunks.front().tensors)
    if (tensor.role == TensorRole::kWeight)
      weights.insert(fmt::format("{} {} {}", weights.size(), tensor.name, tensor.elements()));
  return weights;
}

// Every schedule in every two of its numbers of pieces, on layouts of each kind.
template <class Visit>
int for_each_pair(Recompute recompute, const Visit& visit) {
  int pairs = 0;
  for (const MoeSchedule* schedule : moe_schedules())
    for (const ParallelSizes& sizes :
         {ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2}, ParallelSizes{.dp = 4, .ep = 4},
          ParallelSizes{.tp = 2, .dp = 2, .ep = 4}, ParallelSizes{.dp = 4, .ep = 4, .ep_on_node = 2},
          ParallelSizes{.dp = 16, .ep = 16}}) {
      const Plan own = cut_plan(schedule->name(), sizes, {});
      if (!check_moe_schedule(*schedule, own, *small_moe().first_moe())) continue;
      for (const int forward : schedule->degrees(own))
        for (const int backward : schedule->degrees(own)) {
          if (forward == backward) continue;
          ++pairs;
          const auto in = [&](const Pieces& pieces) {
            return lowered(cut_plan(schedule->name(), sizes, pieces, recompute), small_moe());
          };
          SCOPED_TRACE(fmt::format("{} in {} and {}, TP {} EP {} ESP {}", schedule->name(), forward, backward, sizes.tp,
                                   sizes.ep, sizes.esp));
          visit(in({forward, backward}), in({forward, 0}), in({backward, 0}));
        }
    }
  return pairs;
}

// Nothing is made again that the pass alone would not make again, and no weight is there twice.
TEST(BackwardDegree, PassesAreThoseOfTheirOwnNumbersOfPieces) {
  const int pairs = for_each_pair(Recompute::kNone, [](const Program& both, const Program& f, const Program& b) {
    EXPECT_EQ(names_of(pass_of(both, BlockKind::kForward), true), names_of(pass_of(f, BlockKind::kForward), true));
    EXPECT_EQ(names_of(pass_of(both, BlockKind::kBackward), false), names_of(pass_of(b, BlockKind::kBackward), true));
    EXPECT_EQ(weights_of(both), weights_of(f));
  });
  EXPECT_GT(pairs, 100);
}

// Under full recomputation the layer is made again in the pieces of the backward pass, and nothing has to be cut.
TEST(BackwardDegree, WhatIsMadeAgainIsMadeInThePiecesOfTheBackwardPass) {
  for_each_pair(Recompute::kFull, [](const Program& both, const Program& f, const Program& b) {
    EXPECT_EQ(names_of(pass_of(both, BlockKind::kForward), true), names_of(pass_of(f, BlockKind::kForward), true));
    EXPECT_EQ(names_of(pass_of(both, BlockKind::kBackward), true), names_of(pass_of(b, BlockKind::kBackward), true));
  });
}

// Selective recomputation repeats no product and no exchange, in whichever pieces.
TEST(BackwardDegree, SelectiveRecomputationRepeatsOnlyWhatIsCheap) {
  const auto dear = [](const Block& block) {
    std::vector<std::string> repeated;
    for (const Op& op : block.ops)
      if (op.phase == Phase::kRecompute &&
          (is_communication(op.kind) || op.kind == OpKind::kGemm || op.kind == OpKind::kGroupedGemm))
        repeated.push_back(fmt::format("{} {}", op_kind_name(op.kind), op.name));
    return repeated;
  };
  for_each_pair(Recompute::kSelective, [&](const Program& both, const Program&, const Program& b) {
    EXPECT_EQ(dear(pass_of(both, BlockKind::kBackward)), dear(pass_of(b, BlockKind::kBackward)));
  });
}

// Whatever is cut again, no row is lost or doubled, and it is what the forward pass has made.
TEST(BackwardDegree, RowsThatAreCutAgainAreAllOfThem) {
  int recuts = 0;
  for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective})
    for_each_pair(recompute, [&](const Program& both, const Program&, const Program&) {
      const Chunk& chunk = both.chunks.front();
      std::set<TensorId> made;
      for (const Op& op : pass_of(both, BlockKind::kForward).ops)
        for (const TensorId id : op.outputs) made.insert(id);
      std::set<TensorId> cut;
      for (const Op& op : pass_of(both, BlockKind::kBackward).ops) {
        if (op.kind != OpKind::kRecut) continue;
        ++recuts;
        std::int64_t before = 0;
        std::int64_t after = 0;
        for (const TensorId id : op.inputs) {
          EXPECT_TRUE(made.contains(id));
          before += chunk.tensors[id.index()].bytes().count();
        }
        for (const TensorId id : op.outputs) {
          EXPECT_TRUE(cut.insert(id).second);
          after += chunk.tensors[id.index()].bytes().count();
        }
        EXPECT_EQ(before, after);
      }
    });
  EXPECT_GT(recuts, 1000);
}

// 64 tokens of a rank, top-2 of 16 experts on 4 ranks. The backward pass reads of each piece the copies in the order of their experts,
// their weights, what the up-projection made and what the activation did: four things, each from two pieces into four behind the
// first exchange of the layer's gradients.
TEST(BackwardDegree, PipeMoeCutsWhatTheExpertsKeep) {
  const Program program = lowered(cut_plan("pipemoe", {.dp = 4, .ep = 4}, {2, 4}), small_moe());
  const Block& backward = pass_of(program, BlockKind::kBackward);
  const auto first = std::find_if(backward.ops.begin(), backward.ops.end(),
                                  [](const Op& op) { return op.kind == OpKind::kDispatch && op.layer == LayerId(7); });
  ASSERT_NE(first, backward.ops.end());
  std::multiset<std::int64_t> columns;
  for (auto op = first + 1; op != first + 5; ++op) {
    ASSERT_EQ(op->kind, OpKind::kRecut);
    EXPECT_EQ(op->inputs.size(), 2);
    EXPECT_EQ(op->outputs.size(), 4);
    EXPECT_EQ(op->to_source, 0);
    const Tensor& piece = program.chunks.front().tensors[op->outputs[3].index()];
    EXPECT_EQ(piece.rows, (RowCount{32, RowSource::kArrived, {CutBy::kShare, 3, 4}}));
    columns.insert(piece.columns);
  }
  EXPECT_THAT(columns, testing::ElementsAre(1, 32, 64, 64));
  EXPECT_EQ(count_of(backward, OpKind::kRecut), 4 * 7);
  EXPECT_EQ(count_of(pass_of(program, BlockKind::kForward), OpKind::kRecut), 0);
}

// Activations are together again before the down-projection in however many pieces: three things are left.
TEST(BackwardDegree, CometCutsWhatIsBeforeTheDownProjection) {
  const Program program = lowered(cut_plan("comet", {.dp = 4, .ep = 4}, {4, 2}), small_moe());
  EXPECT_EQ(count_of(pass_of(program, BlockKind::kBackward), OpKind::kRecut), 3 * 7);
}

// Pieces of columns are joined before anything is computed.
TEST(BackwardDegree, PiecesOfColumnsCostNothing) {
  for (const auto& [schedule, sizes] : {std::pair("parm-s2", ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2}),
                                        std::pair("deepep", ParallelSizes{.dp = 4, .ep = 4, .ep_on_node = 2})})
    for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective}) {
      const Program program = lowered(cut_plan(schedule, sizes, {4, 2}, recompute), small_moe());
      EXPECT_EQ(count_of(pass_of(program, BlockKind::kBackward), OpKind::kRecut), 0) << schedule;
    }
}

// Copies that stay because their experts are shadowed are in the same batches in both passes.
TEST(BackwardDegree, ShadowedExpertsAreNotCutAgain) {
  Plan plan = cut_plan("fastermoe", {.dp = 4, .ep = 4}, {1, 2});
  plan.moe_shadows = 3;
  const Program program = lowered(plan, small_moe());
  for (const Op& op : pass_of(program, BlockKind::kBackward).ops) {
    if (op.kind != OpKind::kRecut) continue;
    for (const TensorId id : op.outputs)
      EXPECT_EQ(program.chunks.front().tensors[id.index()].rows.piece.by, CutBy::kDistance);
  }
  EXPECT_EQ(count_of(pass_of(program, BlockKind::kBackward), OpKind::kRecut), 4 * 7);
}

// 128 rows of 64 columns in BF16, 16384 bytes, are read once and written once, by four kernels as four pieces are made.
TEST(BackwardDegree, CuttingAgainIsAPassThroughMemory) {
  const Program program = lowered(cut_plan("pipemoe", {.dp = 4, .ep = 4}, {2, 4}), small_moe());
  const Chunk& chunk = program.chunks.front();
  const Block& backward = pass_of(program, BlockKind::kBackward);
  const auto recut = std::find_if(backward.ops.begin(), backward.ops.end(), [&](const Op& op) {
    return op.kind == OpKind::kRecut && chunk.tensors[op.inputs[0].index()].columns == 64;
  });
  ASSERT_NE(recut, backward.ops.end());
  EXPECT_EQ(piece_of(*recut, chunk), (RowPiece{CutBy::kShare, 0, 1}));
  EXPECT_EQ(kernels_of(*recut), 4);
  RoutedRows rows;
  rows.arrived = 128;
  const ClusterView view = compile(load_cluster("preset:h100", 1).value()).value();
  const CostModel costs(view);
  const MemoryWork work{.kernel = MemoryKernel::kSortByExpert,
                        .type = DType::kBf16,
                        .read = Bytes(16384),
                        .written = Bytes(16384),
                        .row_bytes = 128};
  EXPECT_EQ(compute_cost(costs, 0, *recut, chunk, program.recipe, rows).time,
            costs.as_issued(0, 4, costs.memory_bound(0, work)).time);
}

TEST(BackwardDegree, ANumberThatAScheduleDoesNotHaveIsRefused) {
  const Plan plan = cut_plan("pipemoe", {.dp = 4, .ep = 4}, {2, 3});
  const Status status = check_moe_schedule(*find_moe_schedule("pipemoe").value(), plan, *small_moe().first_moe());
  ASSERT_FALSE(status.has_value());
  EXPECT_THAT(status.error().what, testing::HasSubstr("pipemoe cannot cut token copies into 3 pieces"));
  EXPECT_THAT(status.error().hint,
              testing::HasSubstr("set \"moe_backward_degree\" to 2, 4, 8, 1, or to 0 for as many as"));
}

}  // namespace
}  // namespace moesim
