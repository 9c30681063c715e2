// What the executor looks up about the tensors of a chunk: who reads a weight, which op of the forward pass an adjoint belongs
// to, and where a tensor lives that a neighbouring chunk of the same stage hands over.
#pragma once

#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/program/program.hpp"

namespace moesim {

class ChunkIndex {
 public:
  ChunkIndex(const Program& program, const Chunk& chunk);

  // Name of the forward operation that reads a weight; empty for weights that nothing reads. Norms have no other name.
  [[nodiscard]] std::string_view reader(TensorId weight) const { return readers_[weight.index()]; }
  // The norm weights of a rotary operation, by layer and the name that its adjoint carries too; invalid without norms.
  [[nodiscard]] TensorId rotary_norms(LayerId layer, std::string_view name) const;
  // What the ranks of a vocabulary combine by an all-reduce that is no plain sum; invalid where there is no head.
  [[nodiscard]] TensorId loss_statistics() const { return loss_statistics_; }

  // A tensor that a neighbour on the same stage made is stored under the name that it has there.
  struct Place {
    std::int32_t chunk = -1;
    TensorId tensor;
    auto operator<=>(const Place&) const = default;
  };
  [[nodiscard]] Place place(TensorId tensor) const;

 private:
  std::int32_t chunk_;
  std::vector<std::string_view> readers_;
  std::map<std::pair<LayerId, std::string_view>, TensorId> rotary_norms_;
  TensorId loss_statistics_;
  TensorId input_, output_gradient_;
  Place input_place_, output_gradient_place_;
};

}  // namespace moesim
