#include "exec/run/rank_context.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/memory/memory_walk.hpp"

namespace moesim {
namespace {

std::vector<ChunkIndex> index_chunks(const Program& program) {
  std::vector<ChunkIndex> index;
  for (const Chunk& chunk : program.chunks) index.emplace_back(program, chunk);
  return index;
}

}  // namespace

int routing_source(const Layout& layout, RankId rank) {
  const auto first_stage = layout.stage_ranks(StageId(0));
  const RankId head = layout.group(GroupKind::kPp, rank)[0];
  return static_cast<int>(std::ranges::find(first_stage, head) - first_stage.begin());
}

RankContext::RankContext(const Program& program_of_run, const RunSettings& run_settings, SequenceSource sequences,
                         ComputeBackend& device, Communicator& communicator)
    : program(program_of_run),
      settings(run_settings),
      source(std::move(sequences)),
      backend(device),
      comm(communicator),
      rank(communicator.rank()),
      stage(program.layout->stage(rank)),
      at(program.layout->at(rank)),
      chunks(index_chunks(program)),
      store(program, chunks),
      moe_layer_of(program.model.moe_layer_numbers()),
      load_source(routing_source(*program.layout, rank)) {}

Status RankContext::prepare() {
  for (int kind = 0; kind < kGroupKinds; ++kind) {
    const auto members = program.layout->group(static_cast<GroupKind>(kind), rank);
    MOESIM_ASSIGN(groups[static_cast<std::size_t>(kind)],
                  comm.group(std::vector<RankId>(members.begin(), members.end())));
  }
  MOESIM_ASSIGN(compute, backend.create_stream());
  exchange = backend.is_asynchronous() ? backend.exchange_stream() : compute;
  stream = compute;
  MOESIM_ASSIGN(pool, MemoryPool::make(backend, walk_memory(program).stages[stage.index()].peak));
  states = DeviceMemory(*pool);
  tensors = DeviceMemory(*pool);
  staging = DeviceMemory(*pool);
  MOESIM_ASSIGN(loss_sum, staging.allocate(Bytes(sizeof(double))));
  MOESIM_ASSIGN(parameters, Parameters::make(program, chunks, rank, settings.seed, backend, states, staging));
  return place_slots(program.plan.expert_slots);
}

Status RankContext::place_slots(ExpertSlots next) {
  slots = std::move(next);
  slot_of_expert.clear();
  const MoeShape* const moe = program.model.first_moe();
  if (moe != nullptr && slots.has_spare(moe->experts)) return {};
  for (std::size_t layer = 0; layer < slots.expert_at.size(); ++layer) {
    const std::vector<std::int32_t> of_layer = slots.slots_of(static_cast<int>(layer));
    MOESIM_ASSIGN(BufferPtr buffer, staging.allocate(std::ssize(of_layer), DType::kInt32));
    MOESIM_TRY(backend.copy_in(stream, buffer->data(), of_layer.data(), buffer->size()));
    slot_of_expert.push_back(std::move(buffer));
  }
  return backend.synchronize(stream);
}

Status RankContext::begin_step(std::int64_t number) {
  step = number;
  batch.clear();
  routing.clear();
  store.clear();
  gathered.clear();
  gradient_norm.reset();
  choices.clear();
  MOESIM_TRY(backend.fill_zero(stream, loss_sum->data(), loss_sum->size()));
  for (Parameter& parameter : parameters.all()) {
    // What an operation of its own makes is set by the first one of the step.
    parameter.fresh = parameter.gradient && parameter.gradient_operation;
    for (const BufferPtr& buffer : {parameter.fresh ? nullptr : parameter.gradient, parameter.reduced})
      if (buffer) {
        MOESIM_TRY(backend.fill_zero(stream, buffer->data(), buffer->size()));
      }
  }
  return {};
}

const PlacedRows& RankContext::rows(std::int32_t micro_batch) {
  const auto found = batch.find(micro_batch);
  if (found != batch.end()) return found->second;
  return batch.try_emplace(micro_batch, micro_batch_rows(program.plan, at, step, micro_batch, source)).first->second;
}

Status RankContext::place_rows(std::int32_t micro_batch) {
  if (micro_batch < 0 || batch.contains(micro_batch)) return {};
  static_cast<void>(rows(micro_batch));
  return batch.find(micro_batch)->second.move_to_device(backend, exchange, staging);
}

RoutingState& RankContext::routing_of(LayerId layer, std::int32_t micro_batch) { return routing[{layer, micro_batch}]; }

void RankContext::release(const Chunk& chunk, std::int32_t micro_batch) {
  for (int layer = chunk.first_layer; layer < chunk.last_layer; ++layer) routing.erase({LayerId(layer), micro_batch});
}

Status OpContext::check_inputs() const {
  for (const TensorId id : op_.inputs) {
    const TensorRole role = tensor(id).role;
    if (role == TensorRole::kWeight && rank_.parameters.of(chunk_.index, id).cut >= ZeroStage::kParameters &&
        !rank_.gathered.find(call_, op_.second_half, chunk_.index, id))
      return fail(ErrorKind::kInternal, fmt::format("{} {} of micro-batch {} could start before {} was gathered",
                                                    op_kind_name(op_.kind), op_.name, micro_batch_, tensor(id).name));
    if (role == TensorRole::kWeight || role == TensorRole::kWeightGradient) continue;
    const StoredTensor* operand = rank_.store.find(chunk_.index, micro_batch_, id);
    if (operand == nullptr || !operand->made)
      return fail(ErrorKind::kInternal,
                  fmt::format("{} {} of micro-batch {} could start before its operand {} was made",
                              op_kind_name(op_.kind), op_.name, micro_batch_, tensor(id).name));
  }
  return {};
}

bool OpContext::outputs_are_free() const {
  return std::ranges::none_of(
      op_.outputs, [this](TensorId id) { return rank_.store.find(chunk_.index, micro_batch_, id) != nullptr; });
}

MatrixView OpContext::in(int i) const {
  const TensorId id = op_.inputs[i];
  if (tensor(id).role == TensorRole::kWeight) return weight(id);
  return rank_.store.find(chunk_.index, micro_batch_, id)->view;
}

BufferPtr OpContext::in_buffer(int i) const {
  return rank_.store.find(chunk_.index, micro_batch_, op_.inputs[i])->buffer;
}

std::int64_t OpContext::row_count(const RowCount& rows) const {
  switch (rows.source) {
    case RowSource::kFixed: return rows.count;
    case RowSource::kGated: return routing().gated();
    case RowSource::kRouted: return routing().routed(rows.piece);
    case RowSource::kRoutedShards: return routing().routed(rows.piece) * routing().esp;
    case RowSource::kArrived: return routing().arrived(routing().j, rows.piece);
    case RowSource::kArrivedShards: return routing().arrived_shards(rows.piece);
    case RowSource::kSpread:
    case RowSource::kRelayed:
    case RowSource::kRelaySpread:
    case RowSource::kVisiting: return routing().visits.rows().of(rows.source);
  }
  return 0;
}

Result<StoredTensor> OpContext::out(int i) const {
  const TensorId id = op_.outputs[i];
  const Tensor& made = tensor(id);
  const std::int64_t rows = row_count(made.rows) * made.groups;
  StoredTensor stored;
  MOESIM_ASSIGN(stored.buffer, rank_.tensors.allocate(rows * made.columns, made.type));
  stored.view = dense_view(stored.buffer->data(), made.type, rows, made.columns);
  rank_.store.put(chunk_.index, micro_batch_, id, stored);
  return stored;
}

MatrixView OpContext::weight(TensorId id) const {
  const Parameter& parameter = rank_.parameters.of(chunk_.index, id);
  if (parameter.cut < ZeroStage::kParameters) return parameter.view_of(parameter.value, parameter.tensor().type);
  return parameter.view_of(rank_.gathered.find(call_, op_.second_half, chunk_.index, id), parameter.tensor().type);
}

Result<OpContext::GradientTarget> OpContext::weight_gradient(int output) const {
  Parameter& parameter = rank_.parameters.of(chunk_.index, tensor(op_.outputs[output]).gradient_of);
  if (!parameter.gradient) {
    MOESIM_ASSIGN(parameter.gradient, rank_.tensors.allocate(parameter.elements(), DType::kFp32));
    parameter.fresh = true;
  }
  const bool first = std::exchange(parameter.fresh, false);
  return GradientTarget{parameter.view_of(parameter.gradient, DType::kFp32),
                        first ? GradientSum::kSet : GradientSum::kAdd};
}

Result<MatrixView> OpContext::gradient_of(TensorId weight) const {
  const Parameter& parameter = rank_.parameters.of(chunk_.index, weight);
  MOESIM_ASSERT(parameter.gradient && !parameter.fresh);
  return parameter.view_of(parameter.gradient, DType::kFp32);
}

}  // namespace moesim
