// What the stages of a program do together: every micro-batch once through every chunk, every send with its receive,
// every weight with one gradient per micro-batch, collectives in the same order everywhere.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

struct Passes {
  int forward = 0;
  int input_gradient = 0;
  int weight_gradient = 0;
  bool operator==(const Passes&) const = default;
};

using PassCounts = std::map<std::pair<int, int>, Passes>;  // by (chunk, micro-batch)

PassCounts count_passes(const Program& program) {
  PassCounts counts;
  for (const StageProgram& stage : program.stages)
    for (const Call& call : stage.calls) {
      const Block& block = program.blocks[static_cast<std::size_t>(call.block)];
      Passes& passes = counts[{block.chunk, call.micro_batch}];
      switch (block.kind) {
        case BlockKind::kForward:
        case BlockKind::kForwardFirst: ++passes.forward; break;
        case BlockKind::kBackward:
        case BlockKind::kBackwardLast:
          ++passes.input_gradient;
          ++passes.weight_gradient;
          break;
        case BlockKind::kBackwardInput: ++passes.input_gradient; break;
        case BlockKind::kBackwardWeight:
        case BlockKind::kBackwardWeightLast: ++passes.weight_gradient; break;
        case BlockKind::kPair: {
          ++passes.forward;
          Passes& second = counts[{block.second_chunk, call.second_micro_batch}];
          ++second.input_gradient;
          ++second.weight_gradient;
          break;
        }
        case BlockKind::kPrologue:
        case BlockKind::kEpilogue: counts.erase({block.chunk, call.micro_batch}); break;
      }
    }
  return counts;
}

struct Message {
  int micro_batch;
  std::int64_t bytes;
  bool operator==(const Message&) const = default;
};
using Channel = std::tuple<int, int, bool>;  // from stage, to stage, gradient

std::pair<std::map<Channel, std::vector<Message>>, std::map<Channel, std::vector<Message>>> messages_of(
    const Program& program) {
  std::map<Channel, std::vector<Message>> sent, received;
  for (std::size_t s = 0; s < program.stages.size(); ++s)
    for (const Call& call : program.stages[s].calls) {
      const Block& block = program.blocks[static_cast<std::size_t>(call.block)];
      for (const Op& op : block.ops) {
        if (op.kind != OpKind::kSend && op.kind != OpKind::kReceive) continue;
        const Chunk& chunk = program.chunk_of(block, op);
        const bool send = op.kind == OpKind::kSend;
        const TensorId id = send ? op.inputs[0] : op.outputs[0];
        const int micro_batch = op.second_half != 0 ? call.second_micro_batch : call.micro_batch;
        const int here = static_cast<int>(s);
        const Channel channel{send ? here : op.peer_stage, send ? op.peer_stage : here, op.phase != Phase::kForward};
        (send ? sent : received)[channel].push_back({micro_batch, chunk.tensors[id.index()].bytes().count()});
      }
    }
  return {sent, received};
}

using Shape = std::tuple<std::string_view, std::int32_t, std::int64_t, std::int64_t, std::int64_t>;

// Matrices of a chunk, and the gradients that one micro-batch's backward passes make.
void expect_one_gradient_per_matrix(const Program& program, const std::string& what) {
  for (const Chunk& chunk : program.chunks) {
    std::vector<Shape> weights, gradients;
    const auto shape = [&](const Tensor& t) {
      return Shape{t.name, t.layer.value(), t.rows.count, t.columns, t.groups};
    };
    for (const Tensor& tensor : chunk.tensors)
      if (tensor.role == TensorRole::kWeight && tensor.rows.count > 1) weights.push_back(shape(tensor));
    const auto collect = [&](BlockKind kind) {
      for (const Block& block : program.blocks) {
        if (block.kind != kind || block.chunk != chunk.index) continue;
        for (const Op& op : block.ops)
          for (const TensorId id : op.outputs)
            if (chunk.tensors[id.index()].role == TensorRole::kWeightGradient)
              gradients.push_back(shape(chunk.tensors[id.index()]));
        return;
      }
    };
    const bool split = find_pipeline_schedule(program.plan.pipeline).value()->splits_backward();
    collect(split ? BlockKind::kBackwardInput : BlockKind::kBackward);
    if (split) {
      EXPECT_TRUE(gradients.empty()) << what;
      collect(BlockKind::kBackwardWeight);
    }
    std::sort(weights.begin(), weights.end());
    std::sort(gradients.begin(), gradients.end());
    EXPECT_EQ(weights, gradients) << what << ", chunk " << chunk.index;
  }
}

void expect_conserved(const Plan& plan, const ModelShape& model) {
  const Program program = lowered(plan, model);
  const std::string what = fmt::format("{} {} pp {} vpp {} m {}", model.name, plan.pipeline, plan.sizes().pp,
                                       plan.sizes().vpp, plan.micro_batches());
  const PassCounts counts = count_passes(program);
  const PipelineSchedule& schedule = *find_pipeline_schedule(plan.pipeline).value();
  const PipelineShape shape{plan.sizes().pp, plan.micro_batches(), plan.sizes().vpp};
  std::size_t expected = 0;
  for (const Chunk& chunk : program.chunks)
    for (int m = 0; m < plan.micro_batches(); ++m) {
      if (schedule.copy_of(m, shape) != chunk.model_copy) continue;
      ++expected;
      const auto found = counts.find({chunk.index, m});
      ASSERT_NE(found, counts.end()) << what << ": micro-batch " << m << " misses chunk " << chunk.index;
      EXPECT_EQ(found->second, (Passes{1, 1, 1})) << what << ": micro-batch " << m << ", chunk " << chunk.index;
    }
  EXPECT_EQ(counts.size(), expected) << what;
  const auto [sent, received] = messages_of(program);
  EXPECT_EQ(sent, received) << what;
  for (const auto& [channel, messages] : sent)
    for (const Message& message : messages)
      EXPECT_EQ(message.bytes,
                plan.tokens_per_micro_batch() / (plan.sequence_parallel ? plan.sizes().tp : 1) * model.hidden * 2);
  expect_one_gradient_per_matrix(program, what);
}

TEST(ScheduleCalls, EveryPipelineConservesMicroBatchesMessagesAndGradients) {
  for (const std::string_view pipeline : kPipelines)
    for (const int pp : {2, 4})
      for (const int micro_batches : {8, 12}) {
        expect_conserved(with_pipeline(plan_of({.pp = pp, .dp = 2, .ep = 2}, micro_batches), pipeline), small_moe());
        expect_conserved(with_pipeline(plan_of({.tp = 2, .pp = pp, .dp = 1, .edp = 2}, micro_batches), pipeline),
                         small_dense());
      }
}

TEST(ScheduleCalls, WithoutSequenceParallelismWholeRowsAreSent) {
  Plan plan = plan_of({.tp = 2, .pp = 2, .dp = 1, .edp = 2}, 4);
  plan.sequence_parallel = false;
  expect_conserved(plan, small_dense());
}

TEST(ScheduleCalls, OneStageSendsNothing) {
  const Program program = lowered(plan_of({.dp = 4, .ep = 4}, 3), small_moe());
  const auto [sent, received] = messages_of(program);
  EXPECT_TRUE(sent.empty());
  EXPECT_TRUE(received.empty());
}

// Stages are SPMD, so a group inside a stage agrees by construction; groups across stages must agree too.
TEST(ScheduleCalls, StagesIssueTheSameWorldCollectives) {
  for (const std::string_view pipeline : kPipelines) {
    const Program program = lowered(with_pipeline(plan_of({.pp = 4, .dp = 2, .ep = 2}, 8), pipeline), small_moe());
    std::vector<std::vector<std::string_view>> names(program.stages.size());
    for (std::size_t s = 0; s < program.stages.size(); ++s)
      for (const Call& call : program.stages[s].calls)
        for (const Op& op : program.blocks[static_cast<std::size_t>(call.block)].ops)
          if (op.group == GroupKind::kWorld) names[s].push_back(op.name);
    for (const auto& own : names) EXPECT_EQ(own, (std::vector<std::string_view>{"sync.grad_norm"})) << pipeline;
  }
}

// An expert layer sends its copies out and back once in each direction of the step.
TEST(ScheduleCalls, EachMoeLayerDispatchesAndCombinesOncePerPass) {
  const Program program = lowered(plan_of({.dp = 4, .ep = 4}, 2), small_moe());
  for (const Block& block : program.blocks) {
    if (block.kind != BlockKind::kForward && block.kind != BlockKind::kBackward) continue;
    std::map<std::int32_t, std::pair<int, int>> by_layer;
    for (const Op& op : block.ops) {
      if (op.kind == OpKind::kDispatch) ++by_layer[op.layer.value()].first;
      if (op.kind == OpKind::kCombine) ++by_layer[op.layer.value()].second;
    }
    ASSERT_EQ(by_layer.size(), 7U);
    for (const auto& [layer, count] : by_layer) EXPECT_EQ(count, (std::pair{1, 1})) << "layer " << layer;
  }
}

}  // namespace
}  // namespace moesim
