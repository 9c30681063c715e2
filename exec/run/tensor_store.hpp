// The activations and their gradients that a rank holds: allocated when made, released after the last reader.
//
// A tensor of a block is released when the last operation of that call which touches it has ended, unless a later pass of the
// micro-batch, or the chunk after it, still reads it (CarriedTensors of the memory walk). Operations in flight keep the buffers
// of their operands alive by themselves.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "exec/run/chunk_index.hpp"
#include "exec/run/device_memory.hpp"
#include "sim/memory/block_memory.hpp"

namespace moesim {

struct StoredTensor {
  BufferPtr buffer;
  MatrixView view;
  bool made = false;  // otherwise an operation is still writing it
};

class TensorStore {
 public:
  TensorStore(const Program& program, const std::vector<ChunkIndex>& index);

  void put(std::int32_t chunk, std::int32_t micro_batch, TensorId tensor, StoredTensor stored);
  // nullptr: not there. What is found may not have been made yet.
  [[nodiscard]] const StoredTensor* find(std::int32_t chunk, std::int32_t micro_batch, TensorId tensor) const;
  // Marks the outputs of an operation as made; of one that a device will have run before whatever is given to it later.
  void made(const Call& call, const Op& op);
  // To be called for each operation that has ended: its outputs are made, and what nobody reads any more goes. `call_number`
  // tells the calls of a step apart.
  void ended(std::int32_t call_number, const Call& call, const Op& op);
  [[nodiscard]] std::size_t size() const { return tensors_.size(); }
  void clear();

 private:
  // Operations of a block that touch a tensor, by half and tensor.
  using Uses = std::map<std::pair<int, std::int32_t>, std::int32_t>;
  struct Key {
    ChunkIndex::Place place;
    std::int32_t micro_batch = -1;
    auto operator<=>(const Key&) const = default;
  };
  [[nodiscard]] Key key(std::int32_t chunk, std::int32_t micro_batch, TensorId tensor) const {
    return {index_[static_cast<std::size_t>(chunk)].place(tensor), micro_batch};
  }

  const Program& program_;
  const std::vector<ChunkIndex>& index_;
  std::vector<CarriedTensors> carried_;
  std::vector<std::optional<Uses>> uses_;  // by block
  std::map<std::int32_t, Uses> left_;      // by call
  std::map<Key, StoredTensor> tensors_;
};

// The micro-batch that an operation of this call belongs to.
[[nodiscard]] inline std::int32_t micro_batch_of(const Call& call, const Op& op) {
  return op.second_half != 0 ? call.second_micro_batch : call.micro_batch;
}

}  // namespace moesim
