#include "exec/run/parameters.hpp"

#include <algorithm>
#include <utility>

#include "sim/memory/block_memory.hpp"

namespace moesim {
namespace {

// The gradient of what several ranks hold alike counts once; a head that is the embedding table counts there.
bool is_counted(const Program& program, const Chunk& chunk, const Tensor& tensor, ZeroStage cut, RankId rank) {
  const Layout::Coordinates& at = program.layout->at(rank);
  if (chunk.model_copy > 0 || tensor.transposed || at.tp % tensor.tp_copies > 0 || (tensor.same_on_esp && at.esp > 0))
    return false;
  return cut >= ZeroStage::kOptimizer || program.layout->index_in_group(tensor.replicas, rank) == 0;
}

Result<Parameter> make_parameter(const Program& program, const Chunk& chunk, TensorId id, std::string_view reader,
                                 bool gradient_operation, RankId rank, DeviceMemory& memory) {
  const Tensor& tensor = chunk.tensors[id.index()];
  const Layout& layout = *program.layout;
  Parameter parameter;
  parameter.chunk = &chunk;
  parameter.weight = id;
  parameter.pieces = shard_pieces(program, tensor, reader, layout.at(rank), program.plan.expert_slots);
  const int replicas = layout.group_size(tensor.replicas);
  parameter.cut = replicas > 1 ? program.plan.zero_of(tensor.replicas) : ZeroStage::kNone;
  parameter.gradient_operation = gradient_operation;
  parameter.own = parameter.cut >= ZeroStage::kOptimizer
                      ? owned_range(tensor.owned_elements(), replicas, layout.index_in_group(tensor.replicas, rank))
                      : ElementRange{0, tensor.owned_elements()};
  parameter.counted = is_counted(program, chunk, tensor, parameter.cut, rank);
  // As large for the last owner as for the others.
  const std::int64_t own =
      owned_range(tensor.owned_elements(), parameter.cut >= ZeroStage::kOptimizer ? replicas : 1, 0).count;
  MOESIM_ASSIGN(parameter.value,
                memory.allocate(parameter.cut >= ZeroStage::kParameters ? own : tensor.elements(), tensor.type));
  if (!parameter.passing_gradient()) {
    MOESIM_ASSIGN(parameter.gradient, memory.allocate(tensor.elements(), DType::kFp32));
  }
  if (parameter.cut >= ZeroStage::kGradients) {
    MOESIM_ASSIGN(parameter.reduced, memory.allocate(own, DType::kFp32));
  }
  if (tensor.type != DType::kFp32) {
    MOESIM_ASSIGN(parameter.master, memory.allocate(own, DType::kFp32));
  }
  MOESIM_ASSIGN(parameter.first, memory.allocate(own, DType::kFp32));
  MOESIM_ASSIGN(parameter.second, memory.allocate(own, DType::kFp32));
  return parameter;
}

Status set_initial_values(Parameter& parameter, std::uint64_t seed, ComputeBackend& backend, DeviceMemory& staging) {
  const std::int64_t columns = parameter.tensor().columns;
  std::vector<float> values(static_cast<std::size_t>(parameter.elements()), 0.0F);
  for (const ShardPiece& piece : parameter.pieces) {
    const InitialValues initial(seed, piece);
    for (std::int64_t r = 0; r < piece.rows; ++r)
      for (std::int64_t c = 0; c < piece.columns; ++c)
        values[static_cast<std::size_t>((piece.local_row + r) * columns + piece.local_column + c)] =
            initial.at(piece.row + r, piece.column + c);
  }
  MOESIM_ASSIGN(DeviceStream stream, backend.create_stream());
  MOESIM_ASSIGN(const BufferPtr wide, staging.allocate(parameter.elements(), DType::kFp32));
  MOESIM_TRY(backend.copy_in(stream, wide->data(), values.data(), wide->size()));
  const bool part = parameter.cut >= ZeroStage::kParameters;
  const ElementRange held = part ? parameter.own : ElementRange{0, parameter.elements()};
  MOESIM_TRY(backend.cast(
      stream, {part_of(wide, DType::kFp32, held), part_of(parameter.value, parameter.tensor().type, {0, held.count})}));
  if (parameter.master) {
    MOESIM_TRY(backend.cast(stream, {part_of(wide, DType::kFp32, parameter.own), parameter.own_master()}));
  }
  MOESIM_TRY(backend.fill_zero(stream, parameter.first->data(), parameter.first->size()));
  MOESIM_TRY(backend.fill_zero(stream, parameter.second->data(), parameter.second->size()));
  MOESIM_TRY(backend.synchronize(stream));
  backend.destroy_stream(stream);
  return {};
}

}  // namespace

MatrixView part_of(const BufferPtr& buffer, DType type, ElementRange range) {
  const MatrixView all = dense_view(buffer->data(), type, 1, range.begin + range.count);
  return column_range(all, range.begin, range.count);
}

MatrixView Parameter::view_of(const BufferPtr& whole, DType type) const {
  return dense_view(whole->data(), type, tensor().rows.count * tensor().groups, tensor().columns);
}
MatrixView Parameter::own_value() const {
  return part_of(value, tensor().type, cut >= ZeroStage::kParameters ? ElementRange{0, own.count} : own);
}
MatrixView Parameter::own_gradient() const {
  return reduced ? part_of(reduced, DType::kFp32, {0, own.count}) : part_of(gradient, DType::kFp32, own);
}
MatrixView Parameter::own_master() const {
  return master ? part_of(master, DType::kFp32, {0, own.count}) : own_value();
}
std::int64_t Parameter::element_bytes() const { return half_bytes_per_element(tensor().type) / 2; }

Result<Parameters> Parameters::make(const Program& program, const std::vector<ChunkIndex>& index, RankId rank,
                                    std::uint64_t seed, ComputeBackend& backend, DeviceMemory& states,
                                    DeviceMemory& staging) {
  Parameters parameters;
  std::vector<const Chunk*> chunks;
  for (const Chunk& chunk : program.chunks)
    if (chunk.stage == program.layout->stage(rank)) chunks.push_back(&chunk);
  std::ranges::stable_sort(chunks, {}, [](const Chunk* chunk) { return chunk->first_layer; });
  for (const Chunk* chunk : chunks) {
    const std::vector<bool> with_operations = weights_with_gradient_operations(*chunk);
    std::size_t table_place = 0;  // the embedding comes first in its chunk
    for (std::size_t i = 0; i < chunk->tensors.size(); ++i) {
      if (chunk->tensors[i].role != TensorRole::kWeight) continue;
      const TensorId id(static_cast<std::int32_t>(i));
      if (chunk->tensors[i].tied) {
        parameters.place_[{chunk->index, id}] = table_place;
        continue;
      }
      if (chunk->tensors[i].name == kEmbeddingTable) table_place = parameters.list_.size();
      const std::string_view reader = index[static_cast<std::size_t>(chunk->index)].reader(id);
      MOESIM_ASSIGN(Parameter parameter, make_parameter(program, *chunk, id, reader, with_operations[i], rank, states));
      MOESIM_TRY(set_initial_values(parameter, seed, backend, staging));
      parameters.place_[{chunk->index, id}] = parameters.list_.size();
      parameters.list_.push_back(std::move(parameter));
    }
  }
  return parameters;
}

Parameter& Parameters::of(std::int32_t chunk, TensorId weight) {
  const auto found = place_.find({chunk, weight});
  MOESIM_ASSERT(found != place_.end());
  return list_[found->second];
}

}  // namespace moesim
