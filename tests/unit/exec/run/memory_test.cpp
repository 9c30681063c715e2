// The pool, and what a run holds beside what the memory walk says.
#include <gtest/gtest.h>

#include <array>

#include "exec/run/device_memory.hpp"
#include "sim/memory/memory_walk.hpp"
#include "tests/unit/exec/run/run_testing.hpp"

namespace moesim {
namespace {

TEST(MemoryPool, CutsOneSlabIntoAlignedBlocks) {
  const auto backend = make_cpu_backend();
  const auto pool = MemoryPool::make(*backend, Bytes(1000)).value();
  EXPECT_EQ(pool->capacity(), Bytes(1024));
  auto* first = static_cast<std::byte*>(pool->allocate(Bytes(1)).value());
  auto* second = static_cast<std::byte*>(pool->allocate(Bytes(257)).value());
  EXPECT_EQ(second - first, 256);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % 256, 0U);
  auto* third = static_cast<std::byte*>(pool->allocate(Bytes(256)).value());
  EXPECT_EQ(third - second, 512);
  EXPECT_EQ(pool->capacity(), pool->first_slab());
  for (void* block : {first, second, third}) pool->free(block);
}

TEST(MemoryPool, JoinsFreedNeighbours) {
  const auto backend = make_cpu_backend();
  const auto pool = MemoryPool::make(*backend, Bytes(1024)).value();
  std::array<void*, 4> blocks{};
  for (void*& block : blocks) block = pool->allocate(Bytes(256)).value();
  for (const std::size_t i : {0U, 2U, 1U, 3U}) pool->free(blocks[i]);
  void* whole = pool->allocate(Bytes(1024)).value();
  EXPECT_EQ(whole, blocks[0]);
  EXPECT_EQ(pool->capacity(), Bytes(1024));
  pool->free(whole);
}

// An eighth of 8192 is 1024, and what is asked for is more.
TEST(MemoryPool, TakesAnotherSlabWhenFull) {
  const auto backend = make_cpu_backend();
  const auto pool = MemoryPool::make(*backend, Bytes(8192)).value();
  void* all = pool->allocate(Bytes(8192)).value();
  void* small = pool->allocate(Bytes(1)).value();
  EXPECT_EQ(pool->capacity(), Bytes(8192 + 1024));
  void* large = pool->allocate(Bytes(2048)).value();
  EXPECT_EQ(pool->capacity(), Bytes(8192 + 1024 + 2048));
  EXPECT_EQ(pool->first_slab(), Bytes(8192));
  for (void* block : {all, small, large}) pool->free(block);
}

struct Held {
  MemoryUse use;
  StageMemory walk;
};
std::vector<Held> memory_of(const Plan& plan, const ModelShape& model) {
  const Result<Program> program = tiny_program(plan, model);
  EXPECT_TRUE(program.has_value()) << program.error().what;
  const MemoryReport walk = walk_memory(*program);
  RunSettings settings;
  settings.gating = model.first_moe() != nullptr ? Gating::kReplay : Gating::kLearned;
  const auto rank_main = [&](Communicator& comm) -> Result<Held> {
    const auto backend = make_cpu_backend();
    MOESIM_ASSIGN(const TrainingRecord record,
                  train({*program, settings, synthetic_sequences(model.vocab, 7), 2}, *backend, comm, real_clock()));
    return Held{record.memory, walk.stages[program->layout->stage(comm.rank()).index()]};
  };
  std::vector<Held> held;
  for (auto& rank : run_local_world<Held>(local_world(plan.sizes().world()), rank_main)) {
    EXPECT_TRUE(rank.has_value()) << rank.error().what;
    if (rank) held.push_back(*rank);
  }
  return held;
}

// On one rank operations run in the order of the walk: byte for byte the same.
TEST(Memory, OfOneRankIsWhatTheWalkSays) {
  for (const ModelShape& model : {tiny_moe(), tiny_dense()})
    for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull})
      for (const char* precision : {"fp32", "bf16"}) {
        Plan plan = tiny_plan({});
        plan.recompute = recompute;
        plan.precision = precision;
        SCOPED_TRACE(model.name + " " + plan_text(plan) + " " + precision);
        const std::vector<Held> held = memory_of(plan, model);
        ASSERT_EQ(held.size(), 1U);
        const Held& one = held.front();
        EXPECT_EQ(one.use.states, one.walk.static_bytes());
        EXPECT_EQ(one.use.tensors, one.walk.saved_activations + one.walk.working);
        EXPECT_GE(one.use.planned, one.walk.peak);
      }
}

// Between ranks communication goes on beside computation and keeps its operands a little longer, or they come a little earlier.
// Loads are as predicted, so the rest is the same.
TEST(Memory, OfSeveralRanksIsCloseToTheWalk) {
  for (const ParallelSizes& sizes : {ParallelSizes{.dp = 2, .ep = 2}, ParallelSizes{.pp = 2, .dp = 2, .ep = 2},
                                     ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2}}) {
    const Plan plan = tiny_plan(sizes);
    SCOPED_TRACE(plan_text(plan));
    for (const Held& one : memory_of(plan, tiny_moe())) {
      EXPECT_EQ(one.use.states, one.walk.static_bytes());
      const double walk = (one.walk.saved_activations + one.walk.working).value();
      EXPECT_GT(one.use.tensors.value(), 0.9 * walk);
      EXPECT_LT(one.use.tensors.value(), 1.2 * walk);
    }
  }
}

// The walk estimates what visits: of 16 tokens with two of 8 experts 7.4 visit a rank with two of these.
TEST(Memory, OfTokensThatVisitIsCloseToTheWalk) {
  for (const int on_node : {1, 2})
    for (const Recompute recompute : {Recompute::kNone, Recompute::kFull}) {
      Plan plan = tiny_plan({.dp = 4, .ep = 4, .ep_on_node = on_node});
      plan.moe_schedule = "deepep";
      plan.recompute = recompute;
      SCOPED_TRACE(plan_text(plan));
      for (const Held& one : memory_of(plan, tiny_moe())) {
        EXPECT_EQ(one.use.states, one.walk.static_bytes());
        const double walk = (one.walk.saved_activations + one.walk.working).value();
        EXPECT_GT(one.use.tensors.value(), 0.8 * walk);
        EXPECT_LT(one.use.tensors.value(), 1.2 * walk);
      }
    }
}

// Fetched weights and their gradients are tensors like others.
TEST(Memory, OfShadowedExpertsIsCloseToTheWalk) {
  for (const int shadows : {1, 4, 8})
    for (const Recompute recompute : {Recompute::kNone, Recompute::kFull}) {
      Plan plan = tiny_plan({.dp = 2, .ep = 2});
      plan.moe_schedule = "fastermoe";
      plan.moe_shadows = shadows;
      plan.recompute = recompute;
      SCOPED_TRACE(plan_text(plan) + " " + std::to_string(shadows) + " shadows");
      for (const Held& one : memory_of(plan, tiny_moe())) {
        EXPECT_EQ(one.use.states, one.walk.static_bytes());
        const double walk = (one.walk.saved_activations + one.walk.working).value();
        EXPECT_GT(one.use.tensors.value(), 0.8 * walk);
        EXPECT_LT(one.use.tensors.value(), 1.2 * walk);
      }
    }
}

// Compressed rows and their scales are tensors like others.
TEST(Memory, OfFormatsOnTheWireIsCloseToTheWalk) {
  for (const char* schedule : {"megatron-a2a", "schemoe", "comet"})
    for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
      Plan plan = tiny_plan({.dp = 2, .ep = 2});
      plan.moe_schedule = schedule;
      plan.moe_dispatch_format = WireFormat::kFp8;
      plan.moe_combine_format = WireFormat::kBf16;
      plan.recompute = recompute;
      SCOPED_TRACE(plan_text(plan) + " " + schedule);
      for (const Held& one : memory_of(plan, tiny_moe())) {
        EXPECT_EQ(one.use.states, one.walk.static_bytes());
        const double walk = (one.walk.saved_activations + one.walk.working).value();
        EXPECT_GT(one.use.tensors.value(), 0.8 * walk);
        EXPECT_LT(one.use.tensors.value(), 1.2 * walk);
      }
    }
}

// Pieces of the forward pass until they are cut again, and those of the backward pass from then on.
TEST(Memory, OfPiecesThatAreCutAgainIsCloseToTheWalk) {
  for (const auto& [schedule, forward, backward] :
       {std::tuple("pipemoe", 2, 4), std::tuple("fsmoe", 4, 1), std::tuple("comet", 1, 2)})
    for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
      Plan plan = tiny_plan({.dp = 2, .ep = 2});
      plan.moe_schedule = schedule;
      plan.moe_degree = forward;
      plan.moe_backward_degree = backward;
      plan.recompute = recompute;
      SCOPED_TRACE(plan_text(plan) + " " + schedule);
      for (const Held& one : memory_of(plan, tiny_moe())) {
        EXPECT_EQ(one.use.states, one.walk.static_bytes());
        const double walk = (one.walk.saved_activations + one.walk.working).value();
        EXPECT_GT(one.use.tensors.value(), 0.8 * walk);
        EXPECT_LT(one.use.tensors.value(), 1.2 * walk);
      }
    }
}

// What stays from step to step is cut as the walk says, and what ZeRO 2 and 3 hold for a while is among the tensors. Never more
// than the walk counts, which lets every reduction lag as far behind as the Program allows; with pipelines but for what has come
// from another stage before the walk's turn for it.
TEST(Memory, OfEveryZeroStageIsCutAsTheWalkSays) {
  for (const ParallelSizes& sizes :
       {ParallelSizes{}, ParallelSizes{.dp = 2, .ep = 2}, ParallelSizes{.dp = 2, .edp = 2},
        ParallelSizes{.dp = 4, .ep = 2, .edp = 2}, ParallelSizes{.pp = 2, .dp = 2, .edp = 2}})
    for (const int zero : {0, 1, 2, 3})
      for (const char* precision : {"fp32", "bf16"}) {
        Plan plan = tiny_plan(sizes);
        plan.zero_dense = plan.zero_expert = static_cast<ZeroStage>(zero);
        plan.precision = precision;
        if (zero == 3) plan.recompute = Recompute::kFull;
        SCOPED_TRACE(plan_text(plan) + " " + precision);
        for (const Held& one : memory_of(plan, tiny_moe())) {
          EXPECT_EQ(one.use.states, one.walk.static_bytes());
          const double walk = (one.walk.saved_activations + one.walk.working).value();
          EXPECT_GT(one.use.tensors.value(), 0.6 * walk);
          EXPECT_LE(one.use.tensors.value(), sizes.pp > 1 ? 1.2 * walk : walk);
        }
      }
}

// On four ranks ZeRO 3 holds about a quarter of what ZeRO 0 does. 10 or 32 numbers of norms are not worth cutting.
TEST(Memory, ShardsTakeTheirPartOfTheStates) {
  const auto states = [](int zero) {
    Plan plan = tiny_plan({.dp = 4, .edp = 4});
    plan.zero_dense = plan.zero_expert = static_cast<ZeroStage>(zero);
    return memory_of(plan, tiny_moe()).front().use.states.value();
  };
  const double whole = states(0);
  EXPECT_NEAR(states(1) / whole, 0.625, 0.01);   // weights and gradients whole, two moments in four: (1 + 1 + 2/4) / 4
  EXPECT_NEAR(states(2) / whole, 0.4375, 0.01);  // (1 + 1/4 + 2/4) / 4
  EXPECT_NEAR(states(3) / whole, 0.25, 0.01);
}

}  // namespace
}  // namespace moesim
