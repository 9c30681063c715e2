// Every layout, schedule, recompute policy and ZeRO stage trains the same model: loss, all gradients and the weights after a step
// equal those of one rank. Schedules come from the library's lists, so that each one added later is executed here too.
#include <gtest/gtest.h>

#include "sim/lower/moe_schedule.hpp"
#include "sim/pipeline/schedules.hpp"
#include "tests/unit/exec/run/same_training.hpp"

namespace moesim {
namespace {

// The layouts of up to 8 ranks in which the model's parts divide.
std::vector<ParallelSizes> layouts(int pp, bool moe) {
  std::vector<ParallelSizes> found;
  for (const int per_stage : {1, 2, 4, 8})
    for (const int tp : {1, 2})
      for (const int ep : {1, 2, 4})
        for (const int esp : {1, 2}) {
          if (per_stage * pp > 8 || per_stage % tp != 0 || per_stage % (ep * esp) != 0) continue;
          if (!moe && (ep > 1 || esp > 1)) continue;
          found.push_back(
              {.tp = tp, .pp = pp, .dp = per_stage / tp, .ep = ep, .esp = esp, .edp = per_stage / (ep * esp)});
        }
  return found;
}

TEST(Equivalence, EveryLayoutOfAMoeModel) {
  for (const int pp : {1, 2})
    for (const ParallelSizes& sizes : layouts(pp, true)) expect_same_training(tiny_plan(sizes), tiny_moe());
}

TEST(Equivalence, EveryLayoutOfADenseModel) {
  for (const int pp : {1, 2})
    for (const ParallelSizes& sizes : layouts(pp, false)) expect_same_training(tiny_plan(sizes), tiny_dense());
}

// In each layout that a schedule accepts; one that accepts none here would go unexecuted.
TEST(Equivalence, EveryMoeSchedule) {
  for (const MoeSchedule* schedule : moe_schedules()) {
    int executed = 0;
    for (const ParallelSizes& sizes :
         {ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2}, ParallelSizes{.tp = 1, .dp = 4, .ep = 4},
          ParallelSizes{.dp = 2, .esp = 2}, ParallelSizes{.tp = 2, .pp = 2, .dp = 2, .ep = 4},
          ParallelSizes{.tp = 2, .dp = 4, .ep = 2, .esp = 2, .edp = 2}})
      for (const Recompute recompute : kRecomputes)
        for (const bool sequence_parallel : {true, false}) {
          if (!sequence_parallel && sizes.tp == 1) continue;
          Plan plan = tiny_plan(sizes);
          plan.moe_schedule = schedule->name();
          plan.recompute = recompute;
          plan.sequence_parallel = sequence_parallel;
          if (!check_plan(plan, tiny_moe(), sizes.world()) || !schedule->check(plan, *tiny_moe().first_moe())) continue;
          for (const int degree : schedule->degrees(plan)) {
            plan.moe_degree = degree;
            expect_same_training(plan, tiny_moe());
            ++executed;
            if (recompute != Recompute::kNone) break;  // in its own number of pieces
          }
        }
    EXPECT_GT(executed, 0) << schedule->name();
  }
}

// Tokens once to every node and rank that they visit: on nodes of each size, over several pipelines, pieces and ways to keep
// states, with several micro-batches under way.
TEST(Equivalence, TokensThatVisitNodesAndRanks) {
  int executed = 0;
  for (const ParallelSizes& sizes :
       {ParallelSizes{.dp = 4, .ep = 4}, ParallelSizes{.dp = 8, .ep = 8}, ParallelSizes{.dp = 8, .ep = 4, .edp = 2},
        ParallelSizes{.tp = 2, .pp = 2, .dp = 2, .ep = 4}, ParallelSizes{.cp = 2, .dp = 2, .ep = 4}})
    for (const int on_node : {1, 2, 4, 8}) {
      if (sizes.ep % on_node != 0) continue;
      Plan plan = tiny_plan(sizes);
      plan.layout.sizes.ep_on_node = on_node;
      plan.moe_schedule = "deepep";
      const std::vector<int> degrees = find_moe_schedule("deepep").value()->degrees(plan);
      for (std::size_t i = 0; i < degrees.size(); ++i, ++executed) {
        plan.moe_degree = degrees[i];
        plan.recompute = kRecomputes[(i + static_cast<std::size_t>(on_node)) % 3];
        plan.zero_dense = plan.zero_expert = static_cast<ZeroStage>((i + static_cast<std::size_t>(sizes.dp)) % 4);
        expect_same_training(plan, tiny_moe(), on_node);
      }
    }
  EXPECT_EQ(executed, 34);
  Plan alone = tiny_plan({});
  alone.global_batch = 16;
  const Result<Trained> one = train_all(alone, tiny_moe(), 1);
  ASSERT_TRUE(one.has_value()) << one.error().what;
  for (const PipelineSchedule* schedule : pipeline_schedules()) {
    Plan plan = tiny_plan({.pp = 2, .vpp = chunks_of(*schedule, 4), .dp = 4, .ep = 4, .ep_on_node = 2});
    plan.global_batch = 16;
    plan.pipeline = schedule->name();
    plan.moe_schedule = "deepep";
    expect_same_training_as(*one, plan, tiny_moe());
  }
}

// Which experts are shadowed, how many, in how many pieces the others travel: the model that is trained is the same.
TEST(Equivalence, ShadowedExperts) {
  for (const ParallelSizes& sizes : {ParallelSizes{.dp = 4, .ep = 4}, ParallelSizes{.dp = 4, .ep = 2, .edp = 2},
                                     ParallelSizes{.tp = 2, .pp = 2, .dp = 2, .ep = 4}})
    for (const int shadows : {1, 3, 8})
      for (const int zero : {0, 1, 2, 3}) {
        Plan plan = tiny_plan(sizes);
        plan.moe_schedule = "fastermoe";
        plan.moe_shadows = shadows;
        plan.moe_degree = zero % 2 == 0 ? 2 : 1;
        plan.recompute = kRecomputes[static_cast<std::size_t>(shadows + zero) % 3];
        plan.zero_dense = plan.zero_expert = static_cast<ZeroStage>(zero);
        expect_same_training(plan, tiny_moe());
      }
}

// Weight gradients apart from input gradients, passes that take turns: fetched weights and their gradients pass between blocks.
TEST(Equivalence, ShadowedExpertsUnderEveryPipelineSchedule) {
  for (const PipelineSchedule* schedule : pipeline_schedules())
    for (const Recompute recompute : {Recompute::kNone, Recompute::kFull}) {
      Plan plan = tiny_plan({.pp = 2, .vpp = chunks_of(*schedule, 4), .dp = 2, .ep = 2});
      plan.pipeline = schedule->name();
      plan.moe_schedule = "fastermoe";
      plan.moe_shadows = 2;
      plan.recompute = recompute;
      expect_same_training(plan, tiny_moe());
    }
}

// Gradients of a weight by blocks of its columns, apart from those of its input, which add up over the blocks.
TEST(Equivalence, BlocksOfColumnsUnderEveryPipelineSchedule) {
  for (const PipelineSchedule* schedule : pipeline_schedules())
    for (const Recompute recompute : {Recompute::kNone, Recompute::kFull}) {
      Plan plan = tiny_plan({.pp = 2, .vpp = chunks_of(*schedule, 4), .dp = 2, .ep = 2});
      plan.pipeline = schedule->name();
      plan.moe_schedule = "comet";
      plan.recompute = recompute;
      plan.zero_dense = plan.zero_expert =
          recompute == Recompute::kNone ? ZeroStage::kGradients : ZeroStage::kParameters;
      expect_same_training(plan, tiny_moe());
    }
}

// Narrow experts: a layer moves them instead of its tokens.
TEST(Equivalence, ExpertsThatMoveToTheTokens) {
  ModelShape model = tiny_moe();
  model.name = "tiny-moe with narrow experts";
  for (LayerShape& kind : model.kinds)
    if (kind.moe) kind.moe->expert.width = 1;
  for (const ParallelSizes& sizes :
       {ParallelSizes{.dp = 4, .ep = 4}, ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .edp = 2}})
    for (const Recompute recompute : kRecomputes) {
      Plan plan = tiny_plan(sizes);
      plan.moe_schedule = "janus";
      plan.recompute = recompute;
      plan.zero_expert = recompute == Recompute::kFull ? ZeroStage::kOptimizer : ZeroStage::kNone;
      ASSERT_GT(find_moe_schedule("janus").value()->shadows(plan, *model.first_moe()), 0) << plan_text(plan);
      expect_same_training(plan, model);
    }
}

// Ranks on nodes of one, two and four: over every path that copies take, with blocks that other ranks hand on.
TEST(Equivalence, EveryAlgorithmOfTheTokenExchange) {
  for (const ExchangeAlgorithm algorithm : exchange_algorithms())
    for (const std::string_view schedule : {"megatron-a2a", "parm-s1", "parm-s2"})
      for (const ParallelSizes& sizes :
           {ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2}, ParallelSizes{.tp = 1, .dp = 4, .ep = 4},
            ParallelSizes{.tp = 2, .dp = 4, .ep = 4, .esp = 2}})
        for (const int on_node : {1, 2, 4}) {
          Plan plan = tiny_plan(sizes);
          plan.moe_schedule = schedule;
          plan.all_to_all = algorithm;
          if (!find_moe_schedule(schedule).value()->check(plan, *tiny_moe().first_moe())) continue;
          SCOPED_TRACE(exchange_algorithm_name(algorithm));
          expect_same_training(plan, tiny_moe(), on_node);
        }
}

TEST(Equivalence, EveryPipelineScheduleWithRecomputeAndZeroStages) {
  for (const PipelineSchedule* schedule : pipeline_schedules())
    for (const Recompute recompute : kRecomputes)
      for (const int zero : {0, 1, 2, 3}) {
        if ((static_cast<int>(recompute) + zero) % 2 != 0) continue;  // each with each of the others somewhere
        Plan plan = tiny_plan({.pp = 2, .vpp = chunks_of(*schedule, 4), .dp = 2, .ep = 2});
        plan.pipeline = schedule->name();
        plan.recompute = recompute;
        plan.zero_dense = plan.zero_expert = static_cast<ZeroStage>(zero);
        expect_same_training(plan, tiny_moe());
      }
}

// Up to eight virtual stages of a layer each.
TEST(Equivalence, EveryPipelineScheduleOverFourStages) {
  ModelShape model = tiny_moe();
  model.name = "tiny-moe of 8 layers";
  model.layers = {0, 1, 0, 0, 1, 0, 0, 0};
  for (const PipelineSchedule* schedule : pipeline_schedules()) {
    Plan plan = tiny_plan({.pp = 4, .vpp = chunks_of(*schedule, 4), .dp = 1});
    plan.pipeline = schedule->name();
    expect_same_training(plan, model);
  }
}

TEST(Equivalence, EveryPipelineScheduleWithTpAndReplicatedExperts) {
  for (const PipelineSchedule* schedule : pipeline_schedules()) {
    Plan plan = tiny_plan({.tp = 2, .pp = 2, .vpp = chunks_of(*schedule, 4), .dp = 2, .ep = 2, .edp = 2});
    plan.pipeline = schedule->name();
    plan.zero_dense = plan.zero_expert = ZeroStage::kOptimizer;
    expect_same_training(plan, tiny_moe());
  }
}

TEST(Equivalence, EveryRecomputeAndZeroStage) {
  for (const Recompute recompute : kRecomputes)
    for (const int zero : {0, 1, 2, 3})
      for (const ParallelSizes& sizes :
           {ParallelSizes{.tp = 2, .dp = 4, .ep = 2, .esp = 2, .edp = 2}, ParallelSizes{.dp = 4, .ep = 2, .edp = 2}}) {
        Plan plan = tiny_plan(sizes);
        plan.recompute = recompute;
        plan.zero_dense = plan.zero_expert = static_cast<ZeroStage>(zero);
        expect_same_training(plan, tiny_moe());
      }
}

// Weights of 1 MiB are reduced and gathered where they stand, those beside them in one message: the table of 8192 x 32 numbers
// and the up-projections of four experts, 4 x 32 x 2048, are just that large.
TEST(Equivalence, LargeWeightsBesideSmallOnes) {
  ModelShape model = tiny_moe();
  model.name = "large-moe";
  model.vocab = 8192;
  model.kinds[1].moe->expert.width = 1024;
  model.layers = {0, 1};
  for (const int zero : {0, 1, 2, 3})
    for (const ParallelSizes& sizes :
         {ParallelSizes{.dp = 4, .ep = 2, .edp = 2}, ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .edp = 2}}) {
      Plan plan = tiny_plan(sizes);
      plan.zero_dense = plan.zero_expert = static_cast<ZeroStage>(zero);
      expect_same_training(plan, model);
    }
}

TEST(Equivalence, ReductionsAndGathersBesideTheStep) {
  for (const int zero : {0, 1, 2}) {
    Plan plan = tiny_plan({.pp = 2, .dp = 4, .ep = 2, .edp = 2});
    plan.overlap_grad_reduce = plan.overlap_param_gather = false;
    plan.zero_dense = plan.zero_expert = static_cast<ZeroStage>(zero);
    expect_same_training(plan, tiny_moe());
  }
}

TEST(Equivalence, ReductionsBetweenExchanges) {
  for (const std::string_view schedule : {"megatron-a2a", "pipemoe"}) {
    Plan plan = tiny_plan({.pp = 2, .dp = 4, .ep = 2, .edp = 2});
    plan.moe_schedule = schedule;
    plan.moe_backward_degree = schedule == "pipemoe" ? 4 : 0;
    plan.grad_placement = GradPlacement::kBetweenExchanges;
    plan.grad_bucket_elements = 500;
    plan.zero_dense = plan.zero_expert = ZeroStage::kOptimizer;
    expect_same_training(plan, tiny_moe());
  }
}

TEST(Equivalence, ContextParallelism) {
  for (const ParallelSizes& sizes :
       {ParallelSizes{.cp = 2, .ep = 2}, ParallelSizes{.tp = 2, .cp = 2, .dp = 2, .ep = 2, .esp = 2, .edp = 2},
        ParallelSizes{.cp = 4, .dp = 2, .ep = 4, .edp = 2}})
    for (const Recompute recompute : kRecomputes) {
      Plan plan = tiny_plan(sizes);
      plan.recompute = recompute;
      expect_same_training(plan, tiny_moe());
    }
}

TEST(Equivalence, TensorParallelismWithoutSequenceParallelism) {
  for (const Recompute recompute : kRecomputes) {
    Plan plan = tiny_plan({.tp = 2, .dp = 2, .edp = 4});
    plan.sequence_parallel = false;
    plan.recompute = recompute;
    expect_same_training(plan, tiny_dense());
  }
}

// Several TP ranks then hold the same keys and values, and each sees the gradient of its own queries only.
TEST(Equivalence, FewerKeyValueHeadsThanTpRanks) {
  for (const int kv_heads : {1, 2}) {
    ModelShape model = tiny_moe();
    model.name = "tiny-moe with " + std::to_string(kv_heads) + " key/value heads and norms of heads";
    for (LayerShape& kind : model.kinds) {
      kind.attention.kv_heads = kv_heads;
      kind.attention.qk_norm = true;
    }
    for (const ParallelSizes& sizes :
         {ParallelSizes{.tp = 4, .ep = 4}, ParallelSizes{.tp = 4, .dp = 2, .ep = 2, .esp = 2, .edp = 2},
          ParallelSizes{.tp = 4, .cp = 2, .ep = 4, .edp = 2}, ParallelSizes{.tp = 2, .pp = 2, .dp = 2, .ep = 4}})
      for (const int zero : {0, 1, 3}) {
        Plan plan = tiny_plan(sizes);
        plan.zero_dense = plan.zero_expert = static_cast<ZeroStage>(zero);
        plan.recompute = kRecomputes[static_cast<std::size_t>(zero) % 3];
        expect_same_training(plan, model);
      }
  }
}

TEST(Equivalence, NormsOfHeadsWithoutSequenceParallelism) {
  ModelShape model = tiny_dense();
  model.name = "tiny-dense with one key/value head and norms of heads";
  model.kinds[0].attention.kv_heads = 1;
  model.kinds[0].attention.qk_norm = true;
  for (const int tp : {2, 4}) {
    Plan plan = tiny_plan({.tp = tp, .dp = 2, .edp = 2 * tp});
    plan.sequence_parallel = false;
    plan.zero_dense = tp == 2 ? ZeroStage::kNone : ZeroStage::kOptimizer;
    expect_same_training(plan, model);
  }
}

TEST(Equivalence, OtherShapesOfLayers) {
  ModelShape model = tiny_moe();
  model.name = "head-norms, sigmoid scores, ungated experts, windows";
  for (LayerShape& kind : model.kinds) {
    kind.attention.qk_norm = true;
    kind.attention.window = 5;
    kind.norms = 4;
  }
  model.kinds[1].moe->score = RouterScore::kSigmoid;
  model.kinds[1].moe->expert.gated = false;
  for (const ParallelSizes& sizes :
       {ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2}, ParallelSizes{.tp = 2, .cp = 2, .ep = 4},
        ParallelSizes{.pp = 2, .dp = 2, .ep = 2}}) {
    Plan plan = tiny_plan(sizes);
    plan.zero_dense = ZeroStage::kOptimizer;
    expect_same_training(plan, model);
  }
}

TEST(Equivalence, SeveralSequencesInAMicroBatch) {
  Plan plan = tiny_plan({.tp = 2, .cp = 2, .ep = 2, .edp = 2});
  plan.micro_batch = 4;
  expect_same_training(plan, tiny_moe());
}

// On one chunk the table is one, on two it is held twice: by two stages, or by one with a V or with DualPipe.
TEST(Equivalence, TiedEmbeddings) {
  ModelShape model = tiny_moe();
  model.name = "tiny-moe with tied embeddings";
  model.tied_embeddings = true;
  for (const int zero : {0, 1, 2, 3}) {
    Plan plan = tiny_plan({.tp = 2, .dp = 2, .ep = 2, .esp = 2});
    plan.zero_dense = plan.zero_expert = static_cast<ZeroStage>(zero);
    expect_same_training(plan, model);
    for (const PipelineSchedule* schedule : pipeline_schedules()) {
      Plan stages = tiny_plan({.pp = 2, .vpp = chunks_of(*schedule, 4), .dp = 2, .ep = 2});
      stages.pipeline = schedule->name();
      stages.zero_dense = stages.zero_expert = static_cast<ZeroStage>(zero);
      if ((zero + schedule->name().size()) % 2 == 0) expect_same_training(stages, model);
    }
  }
}

TEST(Equivalence, GroupLimitedGatesWithBiases) {
  ModelShape model = tiny_moe();
  model.name = "tiny-moe with DeepSeek-V3's gate";
  MoeShape& moe = *model.kinds[1].moe;
  moe.score = RouterScore::kSigmoid;
  moe.score_correction_bias = true;
  moe.groups = 4;
  moe.top_groups = 2;
  for (const ParallelSizes& sizes :
       {ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2}, ParallelSizes{.dp = 4, .ep = 4},
        ParallelSizes{.tp = 2, .pp = 2, .dp = 2, .ep = 2, .edp = 2}})
    for (const int zero : {0, 3}) {
      Plan plan = tiny_plan(sizes);
      plan.zero_dense = plan.zero_expert = static_cast<ZeroStage>(zero);
      plan.recompute = zero == 3 ? Recompute::kFull : Recompute::kNone;
      expect_same_training(plan, model);
    }
}

// A capacity counts by source. Where every rank has whole micro-batches of the same size as the one rank, the same copies are
// dropped; TP with sequence parallelism and CP give each rank a part of them, and other copies go.
Plan with_capacity(const ParallelSizes& sizes, double factor, CapacityPadding padding) {
  Plan plan = tiny_plan(sizes);
  plan.capacity_factor = factor;
  plan.pad_to_capacity = padding == CapacityPadding::kFull;
  return plan;
}

TEST(Equivalence, CapacityDropsTheSameCopiesWhereSourcesAreTheSame) {
  const Trained& all = reference(tiny_moe());
  for (const CapacityPadding padding : {CapacityPadding::kNone, CapacityPadding::kFull}) {
    const Result<Trained> one = train_all(with_capacity({}, 1.0, padding), tiny_moe(), 1);
    ASSERT_TRUE(one.has_value()) << one.error().what;
    EXPECT_GT(difference(one->gradients, all.gradients).largest, 0.01) << "nothing was dropped";
    for (const ParallelSizes& sizes :
         {ParallelSizes{.dp = 2, .ep = 2}, ParallelSizes{.dp = 4, .ep = 2, .esp = 2},
          ParallelSizes{.pp = 2, .dp = 2, .ep = 2}, ParallelSizes{.dp = 4, .ep = 2, .edp = 2}})
      for (const Recompute recompute : kRecomputes) {
        Plan plan = with_capacity(sizes, 1.0, padding);
        plan.recompute = recompute;
        expect_same_training_as(*one, plan, tiny_moe());
      }
  }
}

// The reference has the same sources, and nothing else in common.
TEST(Equivalence, CapacityOfPartsOfSequences) {
  for (const CapacityPadding padding : {CapacityPadding::kNone, CapacityPadding::kFull}) {
    const Result<Trained> halves = train_all(with_capacity({.tp = 2, .edp = 2}, 1.0, padding), tiny_moe(), 1);
    ASSERT_TRUE(halves.has_value()) << halves.error().what;
    expect_same_training_as(*halves, with_capacity({.tp = 2, .dp = 2, .ep = 2, .esp = 2}, 1.0, padding), tiny_moe());
    expect_same_training_as(*halves, with_capacity({.tp = 2, .pp = 2, .ep = 2}, 1.0, padding), tiny_moe());
    const Result<Trained> ends = train_all(with_capacity({.cp = 2, .edp = 2}, 1.0, padding), tiny_moe(), 1);
    ASSERT_TRUE(ends.has_value()) << ends.error().what;
    expect_same_training_as(*ends, with_capacity({.cp = 2, .dp = 2, .ep = 4}, 1.0, padding), tiny_moe());
  }
}

// 16 tokens, top-2 of 8 experts: a factor of 4 has room for all tokens at each expert, also in parts of a sequence.
TEST(Equivalence, CapacityForAllDropsNothing) {
  for (const CapacityPadding padding : {CapacityPadding::kNone, CapacityPadding::kFull})
    for (const ParallelSizes& sizes : {ParallelSizes{}, ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2},
                                       ParallelSizes{.tp = 2, .cp = 2, .ep = 4}})
      expect_same_training(with_capacity(sizes, 4.0, padding), tiny_moe());
}

// Rounding grows along the way (a gate at a tie may choose otherwise), so the curves agree to a part in fifty.
TEST(Training, LossFallsAlongTheSameCurveForEveryLayout) {
  constexpr int kSteps = 100;
  ModelShape model = tiny_moe();
  model.layers = {0, 1};
  RunSettings settings;
  settings.optimizer.rate = 0.01F;
  settings.clip_norm = 1.0F;
  const Result<Trained> one = train_all(tiny_plan({}), model, kSteps, settings);
  ASSERT_TRUE(one.has_value()) << one.error().what;
  EXPECT_LT(one->losses.back(), one->losses.front() - 2.0);
  Plan folded = tiny_plan({.tp = 2, .pp = 2, .dp = 2, .ep = 2, .esp = 2});
  folded.recompute = Recompute::kSelective;
  Plan sharded = tiny_plan({.dp = 4, .ep = 2, .edp = 2});
  sharded.zero_dense = sharded.zero_expert = ZeroStage::kParameters;
  Plan contexts = tiny_plan({.cp = 2, .ep = 2});
  contexts.recompute = Recompute::kFull;
  for (const Plan& many : {folded, sharded, contexts}) {
    const Result<Trained> curve = train_all(many, model, kSteps, settings);
    ASSERT_TRUE(curve.has_value()) << curve.error().what;
    for (std::size_t s = 0; s < kSteps; ++s)
      EXPECT_NEAR(curve->losses[s], one->losses[s], 0.02 * one->losses[s]) << plan_text(many) << " step " << s;
  }
}

}  // namespace
}  // namespace moesim
