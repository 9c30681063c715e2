// The parts of the runner: refusals, shards, data, order of issue, what happens when a rank fails.
#include <gtest/gtest.h>

#include <gmock/gmock.h>

#include "exec/run/recut_rows.hpp"
#include "tests/unit/exec/run/run_testing.hpp"

namespace moesim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string refusal(const Plan& plan, const ModelShape& model) {
  const Status status = check_executable(plan, model);
  return status ? "executable" : status.error().what;
}

TEST(Executable, TinyModelsAre) {
  EXPECT_EQ(refusal(tiny_plan({.tp = 2}), tiny_moe()), "executable");
  EXPECT_EQ(refusal(tiny_plan({}), tiny_dense()), "executable");
}

TEST(Executable, ListsEverythingThatIsNot) {
  ModelShape model = tiny_moe();
  model.lm_head_bias = true;
  model.kinds[1].moe->shared_gate = true;
  Plan plan = tiny_plan({.tp = 4});
  plan.precision = "fp8";
  const Status status = check_executable(plan, model);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().kind, ErrorKind::kUsage);
  for (const char* reason : {"bias of the head", "gate on the shared experts", "fp32 and bf16"})
    EXPECT_THAT(status.error().what, HasSubstr(reason));
}

TEST(Executable, RefusesEachShapeItHasNoKernelsFor) {
  const auto with = [](auto&& change) {
    ModelShape model = tiny_moe();
    change(model);
    return refusal(tiny_plan({}), model);
  };
  EXPECT_THAT(with([](ModelShape& m) { m.kinds[0].attention.kind = AttentionKind::kMla; }), HasSubstr("latent"));
  EXPECT_THAT(with([](ModelShape& m) { m.kinds[0].attention.kind = AttentionKind::kLinear; }), HasSubstr("linear"));
  EXPECT_THAT(with([](ModelShape& m) { m.kinds[0].attention.sinks = true; }), HasSubstr("sinks"));
  EXPECT_THAT(with([](ModelShape& m) { m.kinds[0].attention.qkv_bias = true; }), HasSubstr("biases of attention"));
  EXPECT_THAT(with([](ModelShape& m) { m.kinds[0].dense->bias = true; }), HasSubstr("biases of feed-forward"));
  EXPECT_THAT(with([](ModelShape& m) { m.kinds[1].moe->router_bias = true; }), HasSubstr("biases of the router"));
  EXPECT_THAT(with([](ModelShape& m) { m.kinds[1].moe->score = RouterScore::kSparsemixer; }), HasSubstr("sparsemixer"));
  EXPECT_THAT(with([](ModelShape& m) { m.norm_bias = true; }), HasSubstr("LayerNorm"));
  EXPECT_THAT(with([](ModelShape& m) { m.mtp_layers = 1; }), HasSubstr("multi-token"));
  EXPECT_THAT(with([](ModelShape& m) { m.learned_positions = 64; }), HasSubstr("learned positions"));
}

TEST(Batch, LayoutsSeeTheSameSequences) {
  const SequenceSource source = synthetic_sequences(50, 1);
  Plan plan = tiny_plan({.dp = 2});
  // 8 sequences in a step, 2 ranks: micro-batch 1 of rank 1 is sequence 3, in the second step sequence 11.
  const auto rows =
      micro_batch_rows(plan, {.tp = 0, .cp = 0, .dp = 1, .pp = 0, .esp = 0, .ep = 0, .edp = 0}, 1, 1, source);
  const auto tokens = source(11, 17);
  EXPECT_EQ(rows.tokens, std::vector<std::int32_t>(tokens.begin(), tokens.end() - 1));
  EXPECT_EQ(rows.labels, std::vector<std::int32_t>(tokens.begin() + 1, tokens.end()));
}

TEST(Batch, ContextParallelRanksHoldAPieceFromEitherEnd) {
  Plan plan = tiny_plan({.cp = 2});
  plan.seq_length = 8;
  const SequenceSource source = synthetic_sequences(50, 1);
  const auto first = micro_batch_rows(plan, {0, 0, 0, 0, 0, 0, 0}, 0, 0, source);
  const auto second = micro_batch_rows(plan, {0, 1, 0, 0, 0, 0, 0}, 0, 0, source);
  EXPECT_THAT(first.positions, ElementsAre(0, 1, 6, 7));
  EXPECT_THAT(second.positions, ElementsAre(2, 3, 4, 5));
  EXPECT_THAT(first.key_positions, ElementsAre(0, 1, 6, 7, 2, 3, 4, 5));
  EXPECT_EQ(first.labels[3], source(0, 9)[8]);
}

TEST(Shards, OwnedRangesCoverEverythingOnce) {
  EXPECT_EQ(owned_range(10, 4, 0).count, 3);
  EXPECT_EQ(owned_range(10, 4, 3).begin, 9);
  EXPECT_EQ(owned_range(10, 4, 3).count, 1);
  EXPECT_EQ(owned_range(2, 4, 3).count, 0);
}

// 4 query heads and 2 key/value heads of 8 at tp 2: rank 1 has columns 16-31 of q and 8-15 of k and v.
TEST(Shards, FusedColumnsAreCutByHead) {
  const auto program = tiny_program(tiny_plan({.tp = 2, .edp = 2}), tiny_dense());
  ASSERT_TRUE(program.has_value());
  for (const Tensor& tensor : program->chunks[0].tensors) {
    if (tensor.role != TensorRole::kWeight || tensor.name != "attention.qkv") continue;
    const auto pieces = shard_pieces(*program, tensor, "attention.qkv",
                                     {.tp = 1, .cp = 0, .dp = 0, .pp = 0, .esp = 0, .ep = 0, .edp = 0}, {});
    ASSERT_EQ(pieces.size(), 3U);
    EXPECT_EQ(pieces[0].matrix.name, "attention.q");
    EXPECT_EQ(pieces[0].column, 16);
    EXPECT_EQ(pieces[0].columns, 16);
    EXPECT_EQ(pieces[1].local_column, 16);
    EXPECT_EQ(pieces[1].column, 8);
    EXPECT_EQ(pieces[2].matrix.name, "attention.v");
    EXPECT_EQ(pieces[2].local_column, 24);
  }
}

TEST(Shards, PartsOfDifferentLayoutsMakeTheSameModel) {
  const auto initial = [](const ParallelSizes& sizes) {
    RunSettings settings;
    settings.optimizer.rate = 0;
    return train_all(tiny_plan(sizes), tiny_moe(), 1, settings).value().weights;
  };
  const WholeMatrices one = initial({});
  EXPECT_EQ(one.matrices().at({"experts.up", 2, 5}).columns, 48);
  EXPECT_EQ(one.matrices().at({"embedding.table", -1, -1}).rows, 200);
  EXPECT_EQ(difference(one, initial({.tp = 2, .pp = 2, .dp = 2, .ep = 2, .esp = 2})).largest, 0);
}

// The example of recut_rows.hpp, and its way back.
TEST(RecutRows, MovesThePartsOfEachBlock) {
  const RowsByPiece two = {{2, 1}, {2, 1}};
  const RowsByPiece four = {{1, 0}, {1, 1}, {1, 0}, {1, 1}};
  const auto there = recut_rows(two, four);
  ASSERT_EQ(there.size(), 4U);
  const std::vector<RowRun> runs[] = {{{0, 0, 1}}, {{1, 0, 2}}, {{0, 0, 1}}, {{1, 0, 2}}};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(there[i].from, static_cast<int>(i / 2));
    EXPECT_EQ(there[i].to, static_cast<int>(i));
    EXPECT_EQ(there[i].runs, runs[i]);
  }
  const auto back = recut_rows(four, two);
  ASSERT_EQ(back.size(), 4U);
  EXPECT_EQ(back[1].from, 1);
  EXPECT_EQ(back[1].to, 0);
  EXPECT_EQ(back[1].runs, (std::vector<RowRun>{{0, 1, 2}}));
}

// Sources as a whole go from run to run of a cut by distance: blocks 0 and 2 are in piece 0 of two, blocks 1 and 3 in piece 1; of four
// pieces each has one. An empty block moves nothing.
TEST(RecutRows, MovesBlocksAsAWhole) {
  const RowsByPiece two = {{3, 0, 2, 0}, {0, 4, 0, 0}};
  const RowsByPiece one = {{3, 4, 2, 0}};
  const auto joined = recut_rows(two, one);
  ASSERT_EQ(joined.size(), 2U);
  EXPECT_EQ(joined[0].runs, (std::vector<RowRun>{{0, 0, 3}, {3, 7, 2}}));
  EXPECT_EQ(joined[1].runs, (std::vector<RowRun>{{0, 3, 4}}));
  EXPECT_TRUE(recut_rows({{0, 0}}, {{0, 0}, {0, 0}}).empty());
}

TEST(Runner, EveryOperationRunsOnceAndAfterWhatItNeeds) {
  const auto program = tiny_program(tiny_plan({.pp = 2, .dp = 2, .ep = 2}), tiny_moe());
  ASSERT_TRUE(program.has_value());
  const auto rank_main = [&](Communicator& comm) -> Result<int> {
    const auto backend = make_cpu_backend();
    MOESIM_ASSIGN(const auto runner,
                  RankRunner::make(*program, {}, synthetic_sequences(200, 7), *backend, comm, real_clock()));
    MOESIM_ASSIGN(const StepResult result, runner->step());
    std::size_t expected = 0;
    const auto& calls = program->stages[program->layout->stage(comm.rank()).index()].calls;
    for (const Call& call : calls) expected += program->blocks[static_cast<std::size_t>(call.block)].ops.size();
    EXPECT_EQ(result.ops.size(), expected);
    for (const ExecutedOp& op : result.ops) EXPECT_LE(op.start.value(), op.end.value());
    EXPECT_GT(result.memory.tensors.count(), 0);
    return 0;
  };
  for (const auto& result : run_local_world<int>(local_world(4), rank_main))
    EXPECT_TRUE(result.has_value()) << result.error().what;
}

TEST(Runner, OneRankThatFailsEndsAll) {
  const auto program = tiny_program(tiny_plan({.dp = 2, .ep = 2}), tiny_moe());
  ASSERT_TRUE(program.has_value());
  const auto rank_main = [&](Communicator& comm) -> Result<int> {
    const auto backend = make_cpu_backend();
    MOESIM_ASSIGN(const auto runner,
                  RankRunner::make(*program, {}, synthetic_sequences(200, 7), *backend, comm, real_clock()));
    if (comm.rank() == RankId(1)) {
      comm.abort_all("rank 1 gives up");
      return fail(ErrorKind::kInternal, "rank 1 gives up");
    }
    MOESIM_ASSIGN(const StepResult result, runner->step());
    return static_cast<int>(result.ops.size());
  };
  const auto results = run_local_world<int>(local_world(2), rank_main);
  ASSERT_FALSE(results[0].has_value());
  EXPECT_THAT(results[0].error().what, HasSubstr("rank 1 gives up"));
}

TEST(Runner, WantsAsManyRanksAsThePlan) {
  const auto program = tiny_program(tiny_plan({.dp = 2, .ep = 2}), tiny_moe());
  ASSERT_TRUE(program.has_value());
  const auto rank_main = [&](Communicator& comm) -> Result<int> {
    const auto backend = make_cpu_backend();
    MOESIM_TRY(RankRunner::make(*program, {}, synthetic_sequences(200, 7), *backend, comm, real_clock()));
    return 0;
  };
  const auto results = run_local_world<int>(local_world(1), rank_main);
  ASSERT_FALSE(results[0].has_value());
  EXPECT_EQ(results[0].error().kind, ErrorKind::kUsage);
  EXPECT_THAT(results[0].error().what, HasSubstr("for 2 ranks, and 1"));
}

}  // namespace
}  // namespace moesim
