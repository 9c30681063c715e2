#include "sim/lower/lower.hpp"

#include <algorithm>
#include <utility>

#include "sim/lower/grad_placement.hpp"
#include "sim/lower/grad_sync.hpp"
#include "sim/lower/lower_chunk.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "sim/lower/pair_blocks.hpp"
#include "sim/pipeline/schedules.hpp"

namespace moesim {
namespace {

constexpr std::uint16_t kAllStreams = (1U << kStreams) - 1;

// One stream per payload and direction.
Stream transfer_stream(bool send, bool activation, bool down) {
  if (activation && down) return send ? Stream::kPpForwardSend : Stream::kPpForwardReceive;
  if (activation) return send ? Stream::kPpForwardSendUp : Stream::kPpForwardReceiveUp;
  if (down) return send ? Stream::kPpBackwardSendDown : Stream::kPpBackwardReceiveDown;
  return send ? Stream::kPpBackwardSend : Stream::kPpBackwardReceive;
}

// Blocks of one chunk, as indices into Program::blocks.
struct ChunkBlocks {
  std::int32_t forward = -1;
  std::int32_t forward_first = -1;
  std::int32_t backward = -1;
  std::int32_t backward_last = -1;
  std::int32_t weight = -1;
  std::int32_t weight_last = -1;
};

class ProgramAssembler {
 public:
  ProgramAssembler(Program& program, const PipelineSchedule& schedule) : program_(program), schedule_(schedule) {
    shape_ = {program.plan.sizes().pp, program.plan.micro_batches(), program.plan.sizes().vpp};
  }

  Status run() {
    MOESIM_TRY(make_chunks());
    for (Chunk& chunk : program_.chunks) MOESIM_TRY(make_blocks(chunk));
    for (int stage = 0; stage < shape_.stages; ++stage) make_stage(stage);
    return {};
  }

 private:
  [[nodiscard]] int per_copy() const { return static_cast<int>(program_.chunks.size()) / schedule_.model_copies(); }
  [[nodiscard]] bool split() const { return schedule_.splits_backward(); }
  [[nodiscard]] std::int32_t add_block(BlockKind kind, std::int32_t chunk, std::vector<Op> ops) {
    program_.blocks.push_back(Block{kind, chunk, -1, std::move(ops)});
    return static_cast<std::int32_t>(program_.blocks.size()) - 1;
  }

  Status make_chunks() {
    MOESIM_ASSIGN(const std::vector<int> layers, split_layers(program_.plan, program_.model));
    const int virtual_stages = static_cast<int>(layers.size());
    for (int copy = 0; copy < schedule_.model_copies(); ++copy) {
      int first = 0;
      for (int i = 0; i < virtual_stages; ++i) {
        Chunk chunk;
        chunk.index = copy * virtual_stages + i;
        chunk.stage = StageId(schedule_.stage_of(chunk.index, shape_));
        chunk.model_copy = copy;
        chunk.first_layer = first;
        chunk.last_layer = first + layers[static_cast<std::size_t>(i)];
        chunk.has_embedding = i == 0;
        chunk.has_head = i == virtual_stages - 1;
        first = chunk.last_layer;
        program_.chunks.push_back(std::move(chunk));
      }
    }
    blocks_.resize(program_.chunks.size());
    return {};
  }

  // A receive from, or send to, the neighbouring chunk; nothing when it is on the same stage or does not exist.
  void add_transfer(std::vector<Op>& ops, OpKind kind, const Chunk& chunk, int step, TensorId tensor,
                    Phase phase) const {
    const Chunk* peer = program_.neighbour(chunk, step);
    if (peer == nullptr || peer->stage == chunk.stage || !tensor.valid()) return;
    Op op;
    op.kind = kind;
    op.phase = phase;
    const bool down = (peer->stage > chunk.stage) == (kind == OpKind::kSend);
    op.stream = transfer_stream(kind == OpKind::kSend, phase == Phase::kForward, down);
    op.group = GroupKind::kPp;
    op.peer_stage = static_cast<std::int16_t>(peer->stage.value());
    op.name = phase == Phase::kForward ? "pipeline.activation" : "pipeline.gradient";
    (kind == OpKind::kSend ? op.inputs : op.outputs).push_back(tensor);
    ops.push_back(op);
  }

  // A chunk on the same stage hands its tensor over without an operation: what is not computed but communicated waits for
  // the computation that made it.
  void wait_for_handed_over(std::vector<Op>& ops, const Chunk& chunk, int step, TensorId tensor) const {
    if (program_.neighbour_on_stage(chunk, step) == nullptr || !tensor.valid()) return;
    for (Op& op : ops)
      if (op.stream != Stream::kCompute && std::ranges::find(op.inputs, tensor) != op.inputs.end())
        op.wait_streams |= stream_bit(Stream::kCompute);
  }

  Status make_blocks(Chunk& chunk) {
    MOESIM_ASSIGN(ChunkOps ops, lower_chunk(program_.plan, program_.model, *program_.layout, program_.recipe,
                                            split() ? WeightGradients::kApart : WeightGradients::kInline, chunk));
    ChunkBlocks& blocks = blocks_[static_cast<std::size_t>(chunk.index)];
    const Plan& plan = program_.plan;
    const Layout& layout = *program_.layout;

    const auto forward = [&](WhichPass pass) {
      std::vector<Op> list;
      add_transfer(list, OpKind::kReceive, chunk, -1, chunk.input, Phase::kForward);
      list.insert(list.end(), ops.forward.begin(), ops.forward.end());
      wait_for_handed_over(list, chunk, -1, chunk.input);
      add_transfer(list, OpKind::kSend, chunk, +1, chunk.output, Phase::kForward);
      add_param_gathers(list, chunk, plan, layout, pass, program_.buckets);
      return list;
    };
    blocks.forward = add_block(BlockKind::kForward, chunk.index, forward(WhichPass::kEvery));
    blocks.forward_first = add_block(BlockKind::kForwardFirst, chunk.index, forward(WhichPass::kFirstForward));

    const auto backward = [&](WhichPass pass) {
      std::vector<Op> list;
      add_transfer(list, OpKind::kReceive, chunk, +1, chunk.output_gradient, Phase::kBackwardInput);
      list.insert(list.end(), ops.backward.input.begin(), ops.backward.input.end());
      wait_for_unread_results(list, ops.forward, chunk);
      wait_for_handed_over(list, chunk, +1, chunk.output_gradient);
      add_transfer(list, OpKind::kSend, chunk, -1, chunk.input_gradient, Phase::kBackwardInput);
      if (!split()) {
        add_grad_reductions(list, chunk, plan, layout, pass, program_.buckets);
        if (plan.grad_placement == GradPlacement::kBetweenExchanges) place_between_exchanges(list);
      }
      add_param_gathers(list, chunk, plan, layout, WhichPass::kEvery, program_.buckets);
      return list;
    };
    const BlockKind kind = split() ? BlockKind::kBackwardInput : BlockKind::kBackward;
    blocks.backward = add_block(kind, chunk.index, backward(WhichPass::kEvery));
    blocks.backward_last = split()
                               ? blocks.backward
                               : add_block(BlockKind::kBackwardLast, chunk.index, backward(WhichPass::kLastBackward));
    if (!split()) return {};

    const auto weight = [&](WhichPass pass) {
      std::vector<Op> list = ops.backward.weight;
      wait_for_communicated_operands(list, ops.backward.input);
      add_grad_reductions(list, chunk, plan, layout, pass, program_.buckets);
      return list;
    };
    blocks.weight = add_block(BlockKind::kBackwardWeight, chunk.index, weight(WhichPass::kEvery));
    blocks.weight_last = add_block(BlockKind::kBackwardWeightLast, chunk.index, weight(WhichPass::kLastBackward));
    return {};
  }

  // A weight-gradient pass reads what the input-gradient pass left behind; what came by communication may still be on its
  // way, because nothing in that pass had to wait for it.
  static void wait_for_communicated_operands(std::vector<Op>& weight_ops, const std::vector<Op>& input_ops) {
    for (Op& op : weight_ops)
      for (const TensorId id : op.inputs)
        for (const Op& producer : input_ops)
          for (const TensorId out : producer.outputs)
            if (out == id && producer.stream != Stream::kCompute) op.wait_streams |= stream_bit(producer.stream);
  }

  // What the forward pass communicates last (the loss, over TP) nobody has waited for when its backward pass begins.
  static void wait_for_unread_results(std::vector<Op>& backward_ops, const std::vector<Op>& forward_ops,
                                      const Chunk& chunk) {
    std::vector<std::uint16_t> unread(chunk.tensors.size(), 0);  // by tensor: the stream that makes it
    for (const Op& op : forward_ops)
      if (op.stream != Stream::kCompute)
        for (const TensorId out : op.outputs) unread[out.index()] = stream_bit(op.stream);
    for (const Op& op : forward_ops)
      for (const TensorId in : op.inputs) unread[in.index()] = 0;
    for (Op& op : backward_ops)
      for (const TensorId in : op.inputs) op.wait_streams |= unread[in.index()];
  }

  void make_stage(int stage) {
    StageProgram calls;
    const std::vector<Op> prologue = prologue_ops(stage);
    if (!prologue.empty())
      calls.calls.push_back({add_block(BlockKind::kPrologue, first_chunk_of(stage), prologue), -1, -1});
    const std::vector<Slot> slots = schedule_.slots(stage, shape_);
    const auto first_forward = first_occurrence(slots);
    const auto last_gradient = last_occurrence(slots);
    for (std::size_t i = 0; i < slots.size(); ++i)
      calls.calls.push_back(call_of(slots[i], i, first_forward, last_gradient));
    calls.calls.push_back({add_block(BlockKind::kEpilogue, first_chunk_of(stage), epilogue_ops(stage)), -1, -1});
    program_.stages.push_back(std::move(calls));
  }

  // By chunk: the slot with its first forward pass, and the one with its last weight gradients.
  [[nodiscard]] std::vector<std::size_t> first_occurrence(const std::vector<Slot>& slots) const {
    std::vector<std::size_t> first(program_.chunks.size(), slots.size());
    for (std::size_t i = slots.size(); i-- > 0;)
      if (slots[i].kind == SlotKind::kForward || slots[i].kind == SlotKind::kForwardBackward)
        first[static_cast<std::size_t>(slots[i].chunk)] = i;
    return first;
  }
  [[nodiscard]] std::vector<std::size_t> last_occurrence(const std::vector<Slot>& slots) const {
    std::vector<std::size_t> last(program_.chunks.size(), slots.size());
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const Slot& slot = slots[i];
      if (slot.kind == SlotKind::kBackward || slot.kind == SlotKind::kBackwardWeight)
        last[static_cast<std::size_t>(slot.chunk)] = i;
      if (slot.kind == SlotKind::kForwardBackward) last[static_cast<std::size_t>(slot.backward_chunk)] = i;
    }
    return last;
  }

  Call call_of(const Slot& slot, std::size_t position, const std::vector<std::size_t>& first_forward,
               const std::vector<std::size_t>& last_gradient) {
    const ChunkBlocks& blocks = blocks_[static_cast<std::size_t>(slot.chunk)];
    const bool first = first_forward[static_cast<std::size_t>(slot.chunk)] == position;
    const bool last = last_gradient[static_cast<std::size_t>(slot.chunk)] == position;
    switch (slot.kind) {
      case SlotKind::kForward: return {first ? blocks.forward_first : blocks.forward, slot.micro_batch, -1};
      case SlotKind::kBackward:
        if (split()) return {both_gradients(slot.chunk, last), slot.micro_batch, -1};
        return {last ? blocks.backward_last : blocks.backward, slot.micro_batch, -1};
      case SlotKind::kBackwardInput: return {blocks.backward, slot.micro_batch, -1};
      case SlotKind::kBackwardWeight: return {last ? blocks.weight_last : blocks.weight, slot.micro_batch, -1};
      case SlotKind::kForwardBackward: {
        const bool last_backward = last_gradient[static_cast<std::size_t>(slot.backward_chunk)] == position;
        return {pair(first ? blocks.forward_first : blocks.forward, slot.backward_chunk, last_backward),
                slot.micro_batch, slot.backward_micro_batch};
      }
    }
    return {};
  }

  // A schedule that splits the backward pass may still want both parts at once: the two blocks one after the other.
  std::int32_t both_gradients(std::int32_t chunk, bool last) {
    for (const auto& [key, block] : both_)
      if (key == std::pair(chunk, last)) return block;
    const ChunkBlocks& blocks = blocks_[static_cast<std::size_t>(chunk)];
    std::vector<Op> ops = program_.blocks[static_cast<std::size_t>(blocks.backward)].ops;
    append_ops(ops, program_.blocks[static_cast<std::size_t>(last ? blocks.weight_last : blocks.weight)].ops);
    const std::int32_t block = add_block(last ? BlockKind::kBackwardLast : BlockKind::kBackward, chunk, std::move(ops));
    both_.push_back({{chunk, last}, block});
    return block;
  }

  std::int32_t pair(std::int32_t forward, std::int32_t backward_chunk, bool last_backward) {
    for (const auto& known : pairs_)
      if (known.forward == forward && known.chunk == backward_chunk && known.last == last_backward) return known.block;
    const std::int32_t backward = split()
                                      ? both_gradients(backward_chunk, last_backward)
                                      : (last_backward ? blocks_[static_cast<std::size_t>(backward_chunk)].backward_last
                                                       : blocks_[static_cast<std::size_t>(backward_chunk)].backward);
    Block block = pair_blocks(program_.blocks[static_cast<std::size_t>(forward)],
                              program_.blocks[static_cast<std::size_t>(backward)]);
    program_.blocks.push_back(std::move(block));
    pairs_.push_back({forward, backward_chunk, last_backward, static_cast<std::int32_t>(program_.blocks.size()) - 1});
    return pairs_.back().block;
  }

  [[nodiscard]] std::int32_t first_chunk_of(int stage) const {
    for (const Chunk& chunk : program_.chunks)
      if (chunk.stage.value() == stage) return chunk.index;
    return 0;
  }

  [[nodiscard]] std::vector<Op> prologue_ops(int stage) {
    std::vector<Op> ops;
    if (program_.plan.overlap_param_gather) return ops;
    for (const Chunk& chunk : program_.chunks)
      if (chunk.stage.value() == stage)
        append_ops(ops, whole_chunk_gathers(chunk, program_.plan, *program_.layout, program_.buckets));
    if (!ops.empty()) ops.push_back(marker("sync.params_ready"));
    return ops;
  }

  // An operation of no work on the compute stream that waits for all streams.
  static Op marker(std::string_view name) {
    Op op;
    op.kind = OpKind::kOptimizerStep;
    op.phase = Phase::kOptimizer;
    op.wait_streams = kAllStreams;
    op.name = name;
    return op;
  }

  [[nodiscard]] std::vector<Op> epilogue_ops(int stage) {
    const Plan& plan = program_.plan;
    const Layout& layout = *program_.layout;
    std::vector<Op> ops;
    LocalParameters sum;
    std::int64_t over_tp = 0;
    for (const Chunk& chunk : program_.chunks) {
      if (chunk.stage.value() != stage) continue;
      if (!plan.overlap_grad_reduce) append_ops(ops, whole_chunk_reductions(chunk, plan, layout, program_.buckets));
      const LocalParameters local = local_parameters(chunk);
      sum.dense += local.dense;
      sum.expert += local.expert;
      over_tp += elements_summed_over_tp(chunk, plan.sizes().tp);
    }
    for (Op& op : ops) op.wait_streams = stream_bit(Stream::kCompute);
    if (over_tp > 0)
      ops.push_back(sync_op(OpKind::kReduceGrads, "sync.tp_shared_grads", GroupKind::kTp, Stream::kTp, over_tp));
    sum_model_copies(ops, sum);
    sum_tied_gradients(ops, stage);
    if (layout.world() > 1)
      ops.push_back(sync_op(OpKind::kGradNorm, "sync.grad_norm", GroupKind::kWorld, Stream::kDp, 1));
    const auto step = [&](std::string_view name, GroupKind replicas, std::int64_t elements, ZeroStage zero) {
      if (elements == 0) return;
      Op op = marker(name);
      op.group = replicas;
      op.payload_elements = shard_of(elements, replicas, zero >= ZeroStage::kOptimizer);
      ops.push_back(op);
    };
    step("optimizer.dense", GroupKind::kDpCp, sum.dense, plan.zero_dense);
    step("optimizer.expert", GroupKind::kEdp, sum.expert, plan.zero_expert);
    return ops;
  }

  [[nodiscard]] std::int64_t shard_of(std::int64_t elements, GroupKind replicas, bool sharded) const {
    const std::int64_t shards = sharded ? program_.layout->group_size(replicas) : 1;
    return (elements + shards - 1) / shards;
  }

  // Two copies of the model (DualPipe): the ranks of stages s and pp-1-s hold the same two chunks, and each has the
  // gradients of its own half of the micro-batches. By now data parallelism has reduced them, to shards with ZeRO.
  void sum_model_copies(std::vector<Op>& ops, const LocalParameters& sum) const {
    if (schedule_.model_copies() == 1) return;
    const auto add = [&](std::string_view name, GroupKind replicas, std::int64_t elements, ZeroStage zero) {
      if (elements == 0) return;
      ops.push_back(sync_op(OpKind::kReduceGrads, name, GroupKind::kMirror, Stream::kDp,
                            shard_of(elements, replicas, zero >= ZeroStage::kOptimizer)));
      ops.back().payload_type = program_.recipe.gradient;
    };
    add("sync.copy_dense_grads", GroupKind::kDpCp, sum.dense, program_.plan.zero_dense);
    add("sync.copy_expert_grads", GroupKind::kEdp, sum.expert, program_.plan.zero_expert);
  }

  // A tied embedding whose two uses stand on different chunks is held by both, stored alike, and its gradient is summed at
  // the end. By then data parallelism has reduced it, to the same shards of both with ZeRO. Between the first and the last
  // stage that takes an all-reduce; where one stage holds both (V shapes, DualPipe after its copies are summed) a sum.
  void sum_tied_gradients(std::vector<Op>& ops, int stage) const {
    if (!program_.model.tied_embeddings) return;
    int holders = 0;
    for (const Chunk& chunk : program_.chunks)
      if (chunk.stage.value() == stage && chunk.has_embedding != chunk.has_head) ++holders;
    if (holders == 0) return;
    const Plan& plan = program_.plan;
    const std::int64_t table =
        padded_vocab(program_.model.vocab, plan.sizes().tp) / plan.sizes().tp * program_.model.hidden;
    Op op = sync_op(OpKind::kReduceGrads, "sync.tied_grads", GroupKind::kMirror, Stream::kDp,
                    shard_of(table, GroupKind::kDpCp, plan.zero_dense >= ZeroStage::kOptimizer));
    op.payload_type = program_.recipe.gradient;
    if (holders == 2) {
      op.kind = OpKind::kAdd;
      op.group = GroupKind::kSelf;
      op.stream = Stream::kCompute;
    }
    ops.push_back(op);
  }

  [[nodiscard]] Op sync_op(OpKind kind, std::string_view name, GroupKind group, Stream stream,
                           std::int64_t elements) const {
    Op op;
    op.kind = kind;
    op.phase = Phase::kGradSync;
    op.stream = stream;
    op.group = group;
    op.name = name;
    op.payload_elements = elements;
    op.payload_type = DType::kFp32;
    op.wait_streams = kAllStreams;
    return op;
  }

  Program& program_;
  const PipelineSchedule& schedule_;
  PipelineShape shape_;
  std::vector<ChunkBlocks> blocks_;
  std::vector<std::pair<std::pair<std::int32_t, bool>, std::int32_t>> both_;
  struct PairBlock {
    std::int32_t forward;
    std::int32_t chunk;
    bool last;
    std::int32_t block;
  };
  std::vector<PairBlock> pairs_;
};

}  // namespace

Result<Program> lower(const Plan& plan, const ModelShape& model, std::shared_ptr<const Layout> layout,
                      std::shared_ptr<const RoutedLoads> loads) {
  MOESIM_ASSIGN(const PipelineSchedule* schedule, find_pipeline_schedule(plan.pipeline));
  MOESIM_ASSIGN(const PrecisionRecipe recipe, find_precision(plan.precision));
  Program program;
  program.plan = plan;
  program.model = model;
  program.recipe = recipe;
  program.layout = std::move(layout);
  if (model.first_moe() != nullptr) {
    MOESIM_ASSIGN(const MoeSchedule* moe_schedule, moe_schedule_of(plan));
    MOESIM_TRY(check_moe_schedule(*moe_schedule, plan, *model.first_moe()));  // before loads are made for it
    program.division = moe_schedule->division(plan);
    loads = loads_of_schedule(*moe_schedule, std::move(loads), plan, model, *program.layout);
  }
  program.loads = std::move(loads);
  ProgramAssembler assembler(program, *schedule);
  MOESIM_TRY(assembler.run());
  return program;
}

}  // namespace moesim
