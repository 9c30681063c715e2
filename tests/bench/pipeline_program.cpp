#include "pipeline_program.hpp"

#include <algorithm>
#include <initializer_list>

namespace moesim::bench {
namespace {

enum GroupSlot : std::uint8_t { kTpGroup, kEpGroup, kDpGroup };
enum ChannelSlot : std::uint8_t { kForwardOut, kForwardIn, kBackwardOut, kBackwardIn };
enum Category : std::uint16_t { kAttention, kExperts, kTpReduce, kDispatch, kCombine, kTransfer, kGradients };
enum Use : std::uint32_t { kNoUse, kInNode, kAcrossNodes, kBoth };

class BlockBuilder {
 public:
  explicit BlockBuilder(std::uint32_t& durations) : durations_(durations) {}

  std::uint32_t compute(std::uint16_t category, std::initializer_list<std::uint32_t> deps) {
    return add({.category = category}, deps);
  }
  std::uint32_t collective(Stream stream, std::uint8_t group, std::uint16_t category, Use use,
                           std::initializer_list<std::uint32_t> deps) {
    return add({.stream = stream,
                .op_class = ReplayOpClass::kCollective,
                .group = group,
                .holds_compute = stream == Stream::kEp,
                .category = category,
                .port_use = use},
               deps);
  }
  std::uint32_t transfer(Stream stream, ReplayOpClass op_class, std::uint8_t channel,
                         std::initializer_list<std::uint32_t> deps) {
    const Use use = op_class == ReplayOpClass::kSend ? kAcrossNodes : kNoUse;
    return add({.stream = stream, .op_class = op_class, .group = channel, .category = kTransfer, .port_use = use},
               deps);
  }

  ReplayBlock block;

 private:
  std::uint32_t add(ReplayOp op, std::initializer_list<std::uint32_t> deps) {
    op.duration = durations_++;
    op.first_dep = static_cast<std::uint32_t>(block.deps.size());
    op.dep_count = static_cast<std::uint16_t>(deps.size());
    block.deps.insert(block.deps.end(), deps);
    block.ops.push_back(op);
    return static_cast<std::uint32_t>(block.ops.size() - 1);
  }

  std::uint32_t& durations_;
};

ReplayBlock forward_block(const PipelineShape& shape, int stage, std::uint32_t& durations) {
  BlockBuilder b(durations);
  std::uint32_t last = stage > 0 ? b.transfer(Stream::kPpForwardReceive, ReplayOpClass::kReceive, kForwardIn, {})
                                 : b.compute(kAttention, {});
  for (int layer = 0; layer < shape.layers; ++layer) {
    const auto attention = b.compute(kAttention, {last});
    const auto reduce = b.collective(Stream::kTp, kTpGroup, kTpReduce, kInNode, {attention});
    const auto dispatch = b.collective(Stream::kEp, kEpGroup, kDispatch, kBoth, {reduce});
    const auto experts = b.compute(kExperts, {dispatch});
    last = b.collective(Stream::kEp, kEpGroup, kCombine, kBoth, {experts});
  }
  if (stage + 1 < shape.stages) b.transfer(Stream::kPpForwardSend, ReplayOpClass::kSend, kForwardOut, {last});
  return b.block;
}

// `reduce`: the last backward pass, which hands the gradients of each layer to the data-parallel group.
ReplayBlock backward_block(const PipelineShape& shape, int stage, bool reduce, std::uint32_t& durations) {
  BlockBuilder b(durations);
  std::uint32_t last = stage + 1 < shape.stages
                           ? b.transfer(Stream::kPpBackwardReceive, ReplayOpClass::kReceive, kBackwardIn, {})
                           : b.compute(kAttention, {});
  for (int layer = 0; layer < shape.layers; ++layer) {
    const auto combine = b.collective(Stream::kEp, kEpGroup, kCombine, kBoth, {last});
    const auto inputs = b.compute(kExperts, {combine});
    const auto dispatch = b.collective(Stream::kEp, kEpGroup, kDispatch, kBoth, {inputs});
    b.compute(kExperts, {inputs});  // weight gradients beside the all-to-all
    const auto attention = b.compute(kAttention, {dispatch});
    last = b.collective(Stream::kTp, kTpGroup, kTpReduce, kInNode, {attention});
    const auto weights = b.compute(kAttention, {attention});
    if (reduce) b.collective(Stream::kDp, kDpGroup, kGradients, kAcrossNodes, {weights});
  }
  if (stage > 0) b.transfer(Stream::kPpBackwardSend, ReplayOpClass::kSend, kBackwardOut, {last});
  return b.block;
}

// Blocks of one stage: forward, backward, last backward.
std::vector<ReplayCall> one_forward_one_backward(const PipelineShape& shape, int stage) {
  const auto first_block = static_cast<std::uint32_t>(stage) * 3;
  const int warm_up = std::min(shape.micro_batches, shape.stages - 1 - stage);
  std::vector<ReplayCall> calls;
  const auto forward = [&](int i) { calls.push_back({.block = first_block, .micro_batch = i}); };
  const auto backward = [&](int i) {
    calls.push_back({.block = first_block + (i + 1 == shape.micro_batches ? 2U : 1U), .micro_batch = i});
  };
  for (int i = 0; i < warm_up; ++i) forward(i);
  for (int i = warm_up; i < shape.micro_batches; ++i) {
    forward(i);
    backward(i - warm_up);
  }
  for (int i = shape.micro_batches - warm_up; i < shape.micro_batches; ++i) backward(i);
  return calls;
}

void add_groups(const PipelineShape& shape, ReplayProgram& program) {
  const auto add = [&](int first, int count, GroupSlot slot) {
    const auto id = static_cast<std::int32_t>(program.group_sizes.size());
    program.group_sizes.push_back(count);
    for (int e = first; e < first + count; ++e) program.entities[static_cast<std::size_t>(e)].groups[slot] = id;
  };
  for (int stage = 0; stage < shape.stages; ++stage) {
    const int first = stage * shape.ranks_per_stage;
    for (int pair = 0; pair + 1 < shape.ranks_per_stage; pair += 2) add(first + pair, 2, kTpGroup);
    add(first, shape.ranks_per_stage, kEpGroup);
    add(first, shape.ranks_per_stage, kDpGroup);
  }
}

}  // namespace

ReplayProgram pipeline_program(const PipelineShape& shape) {
  ReplayProgram program;
  program.compute_slowdown = 1.1;
  program.port_uses = {{}, {{0.9F, 0.0F}}, {{0.0F, 0.8F}}, {{0.5F, 0.7F}}};
  std::uint32_t durations = 0;
  for (int stage = 0; stage < shape.stages; ++stage) {
    program.blocks.push_back(forward_block(shape, stage, durations));
    program.blocks.push_back(backward_block(shape, stage, false, durations));
    program.blocks.push_back(backward_block(shape, stage, true, durations));
  }
  const int entities = shape.stages * shape.ranks_per_stage;
  program.ports = entities * 2;
  for (int e = 0; e < entities; ++e) {
    const int stage = e / shape.ranks_per_stage;
    ReplayEntity& entity = program.entities.emplace_back();
    entity.calls = one_forward_one_backward(shape, stage);
    entity.durations = static_cast<std::uint32_t>(e % shape.ranks_per_stage);
    entity.groups.assign(3, -1);
    entity.channels.assign(4, -1);
    if (stage + 1 < shape.stages)
      entity.channels[kForwardOut] = entity.channels[kBackwardIn] = e + shape.ranks_per_stage;
    if (stage > 0) entity.channels[kBackwardOut] = entity.channels[kForwardIn] = e - shape.ranks_per_stage;
    entity.ports = {2 * e, 2 * e + 1};
  }
  for (int rank = 0; rank < shape.ranks_per_stage; ++rank) {
    std::vector<Picoseconds>& table = program.durations.emplace_back(durations);
    for (std::uint32_t i = 0; i < durations; ++i) {
      table[i] = 100'000'000 + (i * 7919 + static_cast<unsigned>(rank) * 104729) % 50'000'000;
    }
  }
  add_groups(shape, program);
  return program;
}

}  // namespace moesim::bench
