// The memory walk against a slow simulation that follows every tensor of every micro-batch on its own.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "sim/memory/block_memory.hpp"
#include "sim/memory/memory_walk.hpp"
#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

using Key = std::tuple<int, int, std::int32_t>;  // chunk, micro-batch, tensor

struct Step {  // one operation
  std::size_t call;
  std::vector<Key> reads;
  std::vector<Key> makes;
};

bool meets(const Program& program, int chunk, int other) {
  if (other < 0 || other >= static_cast<int>(program.chunks.size())) return false;
  const Chunk& a = program.chunks[static_cast<std::size_t>(chunk)];
  const Chunk& b = program.chunks[static_cast<std::size_t>(other)];
  return a.stage == b.stage && a.model_copy == b.model_copy;
}

// What a neighbour on the same stage hands over is the neighbour's tensor.
Key key_of(const Program& program, int chunk, int micro_batch, TensorId id) {
  const Chunk& own = program.chunks[static_cast<std::size_t>(chunk)];
  if (id == own.input && meets(program, chunk, chunk - 1))
    return {chunk - 1, micro_batch, program.chunks[static_cast<std::size_t>(chunk - 1)].output.value()};
  if (id == own.output_gradient && meets(program, chunk, chunk + 1))
    return {chunk + 1, micro_batch, program.chunks[static_cast<std::size_t>(chunk + 1)].input_gradient.value()};
  return {chunk, micro_batch, id.value()};
}

std::vector<Step> steps_of(const Program& program, const StageProgram& stage) {
  std::vector<Step> steps;
  for (std::size_t c = 0; c < stage.calls.size(); ++c) {
    const Call& call = stage.calls[c];
    const Block& block = program.blocks[static_cast<std::size_t>(call.block)];
    for (const Op& op : block.ops) {
      const Chunk& chunk = program.chunk_of(block, op);
      const int micro_batch = op.second_half != 0 ? call.second_micro_batch : call.micro_batch;
      Step step{c, {}, {}};
      const auto add = [&](std::vector<Key>& keys, TensorId id) {
        const TensorRole role = chunk.tensors[id.index()].role;
        if (role == TensorRole::kActivation || role == TensorRole::kActivationGradient)
          keys.push_back(key_of(program, chunk.index, micro_batch, id));
      };
      for (const TensorId id : op.inputs) add(step.reads, id);
      for (const TensorId id : op.outputs) add(step.makes, id);
      steps.push_back(std::move(step));
    }
  }
  return steps;
}

struct Walked {
  std::vector<std::int64_t> peak_by_call;
  std::int64_t left = 0;
};

Walked simulate(const Program& program, const StageProgram& stage) {
  const std::vector<Step> steps = steps_of(program, stage);
  // A tensor may be made again (recomputation): each time it lives until its last reader before the next time.
  std::map<Key, std::size_t> last_use;  // of the making that runs
  std::vector<std::vector<Key>> dies(steps.size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    for (const Key& key : steps[i].makes) {
      if (const auto old = last_use.find(key); old != last_use.end()) dies[old->second].push_back(key);
      last_use[key] = i;
    }
    for (const Key& key : steps[i].reads) {
      EXPECT_TRUE(last_use.contains(key)) << "read before it is made";
      last_use[key] = i;
    }
  }
  for (const auto& [key, step] : last_use) dies[step].push_back(key);
  const LargestRows rows = largest_rows(program);
  const auto bytes = [&](const Key& key) {
    return largest_bytes(program.chunks[static_cast<std::size_t>(std::get<0>(key))]
                             .tensors[static_cast<std::size_t>(std::get<2>(key))],
                         rows)
        .count();
  };
  Walked walked;
  walked.peak_by_call.assign(stage.calls.size(), 0);
  std::int64_t held = 0;
  std::size_t entered = stage.calls.size();
  for (std::size_t i = 0; i < steps.size(); ++i) {
    std::int64_t& peak = walked.peak_by_call[steps[i].call];
    if (entered != steps[i].call) peak = held;
    entered = steps[i].call;
    for (const Key& key : steps[i].makes) held += bytes(key);
    peak = std::max(peak, held);
    for (const Key& key : dies[i]) held -= bytes(key);
    EXPECT_GE(held, 0);
  }
  walked.left = held;
  return walked;
}

void expect_equal(const Plan& plan, const ModelShape& model) {
  const bool routed = model.first_moe() != nullptr;
  const Program program = lowered(plan, model, routed ? skewed_loads(plan, model, 3, 2, 11) : nullptr);
  const MemoryReport report = walk_memory(program);
  for (std::size_t s = 0; s < program.stages.size(); ++s) {
    const Walked reference = simulate(program, program.stages[s]);
    const std::string what =
        fmt::format("{} {} recompute {} stage {}", model.name, plan.pipeline, recompute_name(plan.recompute), s);
    EXPECT_EQ(reference.left, 0) << what;
    ASSERT_EQ(report.stages[s].activation_by_call.size(), reference.peak_by_call.size());
    for (std::size_t c = 0; c < reference.peak_by_call.size(); ++c)
      ASSERT_EQ(report.stages[s].activation_by_call[c].count(), reference.peak_by_call[c]) << what << " call " << c;
    const Bytes peak = report.stages[s].saved_activations + report.stages[s].working;
    EXPECT_EQ(peak.count(), *std::max_element(reference.peak_by_call.begin(), reference.peak_by_call.end())) << what;
  }
}

TEST(Lifetimes, EqualASlowSimulationForEveryPipelineAndRecomputation) {
  for (const std::string_view pipeline : kPipelines)
    for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
      Plan dense = with_pipeline(plan_of({.tp = 2, .pp = 2, .dp = 1, .edp = 2}, 6), pipeline);
      dense.recompute = recompute;
      expect_equal(dense, small_dense());
      dense.sequence_parallel = false;
      expect_equal(dense, small_dense());
      Plan moe = with_pipeline(plan_of({.pp = 4, .dp = 2, .ep = 2}, 12), pipeline);
      moe.recompute = recompute;
      expect_equal(moe, small_moe());
      Plan mla = with_pipeline(plan_of({.tp = 2, .cp = 2, .pp = 2, .dp = 1, .ep = 2, .esp = 2}, 4), pipeline);
      mla.recompute = recompute;
      mla.precision = "fp8";
      expect_equal(mla, small_mla());
    }
}

}  // namespace
}  // namespace moesim
