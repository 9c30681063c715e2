#include "exec/run/parameters.hpp"

#include <algorithm>
#include <utility>

namespace moesim {
namespace {

MatrixView flat(const BufferPtr& buffer, DType type, ElementRange range) {
  const MatrixView all = dense_view(buffer->data(), type, 1, range.begin + range.count);
  return column_range(all, range.begin, range.count);
}

// The gradient of what several ranks hold alike counts once.
bool is_counted(const Program& program, const Chunk& chunk, const Tensor& tensor, bool sharded, RankId rank) {
  const Layout::Coordinates& at = program.layout->at(rank);
  if (chunk.model_copy > 0 || (tensor.same_on_tp && at.tp > 0) || (tensor.same_on_esp && at.esp > 0)) return false;
  return sharded || program.layout->index_in_group(tensor.replicas, rank) == 0;
}

Result<Parameter> make_parameter(const Program& program, const Chunk& chunk, TensorId id, std::string_view reader,
                                 RankId rank, DeviceMemory& memory) {
  const Tensor& tensor = chunk.tensors[id.index()];
  const Layout& layout = *program.layout;
  Parameter parameter;
  parameter.chunk = &chunk;
  parameter.weight = id;
  parameter.pieces = shard_pieces(program, tensor, reader, layout.at(rank));
  const int replicas = layout.group_size(tensor.replicas);
  parameter.sharded = replicas > 1 && program.plan.zero_of(tensor.replicas) >= ZeroStage::kOptimizer;
  parameter.own = parameter.sharded
                      ? owned_range(tensor.elements(), replicas, layout.index_in_group(tensor.replicas, rank))
                      : ElementRange{0, tensor.elements()};
  parameter.counted = is_counted(program, chunk, tensor, parameter.sharded, rank);
  MOESIM_ASSIGN(parameter.value, memory.allocate(tensor.elements(), tensor.type));
  MOESIM_ASSIGN(parameter.gradient, memory.allocate(tensor.elements(), DType::kFp32));
  const std::int64_t own = parameter.own.count;
  if (parameter.sharded) {
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
  const ElementRange all{0, parameter.elements()};
  MOESIM_TRY(
      backend.cast(stream, {flat(wide, DType::kFp32, all), flat(parameter.value, parameter.tensor().type, all)}));
  if (parameter.master) {
    MOESIM_TRY(backend.cast(stream, {flat(wide, DType::kFp32, parameter.own), parameter.own_master()}));
  }
  MOESIM_TRY(backend.fill_zero(stream, parameter.first->data(), parameter.first->size()));
  MOESIM_TRY(backend.fill_zero(stream, parameter.second->data(), parameter.second->size()));
  MOESIM_TRY(backend.synchronize(stream));
  backend.destroy_stream(stream);
  return {};
}

}  // namespace

ElementRange owned_range(std::int64_t elements, int members, int index) {
  const std::int64_t part = (elements + members - 1) / members;
  const std::int64_t begin = std::min(elements, index * part);
  return {begin, std::min(elements, begin + part) - begin};
}

MatrixView Parameter::value_view() const {
  return dense_view(value->data(), tensor().type, tensor().rows.count * tensor().groups, tensor().columns);
}
MatrixView Parameter::gradient_view() const {
  return dense_view(gradient->data(), DType::kFp32, tensor().rows.count * tensor().groups, tensor().columns);
}
MatrixView Parameter::own_value() const { return flat(value, tensor().type, own); }
MatrixView Parameter::own_gradient() const {
  return sharded ? flat(reduced, DType::kFp32, {0, own.count}) : flat(gradient, DType::kFp32, own);
}
MatrixView Parameter::own_master() const { return master ? flat(master, DType::kFp32, {0, own.count}) : own_value(); }
std::int64_t Parameter::element_bytes() const { return half_bytes_per_element(tensor().type) / 2; }

Result<Parameters> Parameters::make(const Program& program, const std::vector<ChunkIndex>& index, RankId rank,
                                    std::uint64_t seed, ComputeBackend& backend, DeviceMemory& states,
                                    DeviceMemory& staging) {
  Parameters parameters;
  std::vector<const Chunk*> chunks;
  for (const Chunk& chunk : program.chunks)
    if (chunk.stage == program.layout->stage(rank)) chunks.push_back(&chunk);
  std::ranges::stable_sort(chunks, {}, [](const Chunk* chunk) { return chunk->first_layer; });
  for (const Chunk* chunk : chunks)
    for (std::size_t i = 0; i < chunk->tensors.size(); ++i) {
      if (chunk->tensors[i].role != TensorRole::kWeight) continue;
      const TensorId id(static_cast<std::int32_t>(i));
      MOESIM_ASSIGN(
          Parameter parameter,
          make_parameter(program, *chunk, id, index[static_cast<std::size_t>(chunk->index)].reader(id), rank, states));
      MOESIM_TRY(set_initial_values(parameter, seed, backend, staging));
      parameters.place_[{chunk->index, id}] = parameters.list_.size();
      parameters.list_.push_back(std::move(parameter));
    }
  return parameters;
}

Parameter& Parameters::of(std::int32_t chunk, TensorId weight) {
  const auto found = place_.find({chunk, weight});
  MOESIM_ASSERT(found != place_.end());
  return list_[found->second];
}

}  // namespace moesim
