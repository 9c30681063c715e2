#include "sim/memory/memory_walk.hpp"

#include <algorithm>
#include <map>

#include "sim/memory/block_memory.hpp"

namespace moesim {
namespace {

std::int64_t shards(const Program& program, GroupKind replicas, ZeroStage from) {
  return program.plan.zero_of(replicas) >= from ? program.layout->group_size(replicas) : 1;
}

void add_static(const Program& program, const Chunk& chunk, StageMemory& memory) {
  const PrecisionRecipe& recipe = program.recipe;
  const std::vector<bool> with_operations = weights_with_gradient_operations(chunk);
  for (std::size_t i = 0; i < chunk.tensors.size(); ++i) {
    const Tensor& tensor = chunk.tensors[i];
    if (tensor.role != TensorRole::kWeight || tensor.tied) continue;
    const std::int64_t elements = tensor.elements();
    // ZeRO cuts what has a state; guests are whole.
    const auto share = [&](ZeroStage from) {
      const std::int64_t parts = shards(program, tensor.replicas, from);
      const std::int64_t cut = from == ZeroStage::kOptimizer || parts > 1 ? tensor.owned_elements() : elements;
      return (cut + parts - 1) / parts;
    };
    memory.weights += storage(share(ZeroStage::kParameters), tensor.type);
    if (tensor.fp8_operand)
      memory.weights += storage(share(ZeroStage::kParameters), DType::kFp8) * recipe.extra_weight_copies_fp8;
    memory.gradients += storage(share(ZeroStage::kGradients), recipe.gradient);
    // A vector's gradient adds up beside other operations until a bucket takes it: whole, also where only a shard is kept.
    if (!with_operations[i] && shards(program, tensor.replicas, ZeroStage::kGradients) > 1)
      memory.gradients += storage(elements, recipe.gradient);
    if (recipe.weight != recipe.master) memory.optimizer += storage(share(ZeroStage::kOptimizer), recipe.master);
    memory.optimizer += storage(share(ZeroStage::kOptimizer), recipe.moment) * 2;
  }
}

std::vector<MemoryHolder> largest_holders(const std::map<std::string_view, std::int64_t>& by_name) {
  std::vector<MemoryHolder> holders;
  for (const auto& [name, bytes] : by_name) holders.push_back({name, Bytes(bytes)});
  std::stable_sort(holders.begin(), holders.end(), [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  return holders;
}

}  // namespace

const StageMemory& MemoryReport::worst() const {
  return *std::max_element(stages.begin(), stages.end(), [](const auto& a, const auto& b) { return a.peak < b.peak; });
}

MemoryReport walk_memory(const Program& program) {
  const LargestRows rows = largest_rows(program);
  std::vector<CarriedTensors> carried;
  for (const Chunk& chunk : program.chunks) carried.emplace_back(program, chunk.index);
  std::vector<BlockMemory> blocks;
  for (const Block& block : program.blocks) blocks.push_back(block_memory(program, block, carried, rows));

  MemoryReport report;
  for (std::size_t stage = 0; stage < program.stages.size(); ++stage) {
    StageMemory memory;
    for (const Chunk& chunk : program.chunks)
      if (chunk.stage.index() == stage) add_static(program, chunk, memory);
    std::int64_t held = 0;
    std::int64_t in_reduction = 0;  // whole gradients that earlier calls have handed over
    std::int64_t highest = -1;
    std::vector<int> in_flight(program.chunks.size(), 0);  // forward done, backward not
    std::vector<int> in_flight_at_peak = in_flight;
    for (const Call& call : program.stages[stage].calls) {
      const Block& block = program.blocks[static_cast<std::size_t>(call.block)];
      const BlockMemory& pass = blocks[static_cast<std::size_t>(call.block)];
      const std::int64_t working = std::max(pass.peak, in_reduction + pass.peak_in_front);
      memory.activation_by_call.push_back(Bytes(held + working));
      if (held + working > highest) {
        highest = held + working;
        memory.saved_activations = Bytes(held);
        memory.working = Bytes(working);
        in_flight_at_peak = in_flight;
      }
      held += pass.change;
      in_reduction = pass.in_reduction + (pass.waits_for_reductions ? 0 : in_reduction);
      if (pass_of(block.kind) == 0) ++in_flight[static_cast<std::size_t>(block.chunk)];
      if (pass_of(block.kind) == 1) --in_flight[static_cast<std::size_t>(block.chunk)];
      if (block.kind == BlockKind::kPair) --in_flight[static_cast<std::size_t>(block.second_chunk)];
    }
    std::map<std::string_view, std::int64_t> by_name;
    for (const Chunk& chunk : program.chunks) {
      const auto count = in_flight_at_peak[static_cast<std::size_t>(chunk.index)];
      if (count == 0) continue;
      for (const TensorId id : carried[static_cast<std::size_t>(chunk.index)].saved_by_forward()) {
        const Tensor& tensor = chunk.tensors[id.index()];
        by_name[tensor.name] += count * largest_bytes(tensor, rows).count();
      }
    }
    memory.holders = largest_holders(by_name);
    memory.peak = memory.static_bytes() + memory.saved_activations + memory.working;
    report.stages.push_back(std::move(memory));
  }
  return report;
}

}  // namespace moesim
