// The results of a chunk's forward pass as its backward pass finds them: kept by the plan's policy (adjoint.hpp), or made available when
// they are asked for.
#pragma once

#include <map>
#include <vector>

#include "sim/program/chunk_builder.hpp"

namespace moesim {

class ForwardResults {
 public:
  // `input`: the chunk's, where it comes from another. The builder's tape and patterns must not grow any more.
  ForwardResults(const ChunkBuilder& builder, const Chunk& chunk, TensorId input);

  // Makes `id` available to what follows in `ops`: it is kept, has been asked for before, is cut from what is kept (Recut), or is made
  // again now with all it needs.
  void ensure(TensorId id, std::vector<Op>& ops);
  // `ops` end in an exchange of gradients of this layer.
  void has_exchanged(LayerId layer, const std::vector<Op>& ops);

 private:
  [[nodiscard]] bool is_kept_by_policy(TensorId id) const;
  void follow_patterns();
  void cut_again(const Recut& recut, std::vector<Op>& ops);

  const ChunkBuilder& builder_;
  const Chunk& chunk_;
  std::vector<const Op*> producer_;  // by tensor; null: from outside
  std::vector<bool> available_;      // by tensor
  std::map<TensorId, const Recut*> recut_of_;
  LayerId
      exchanged_;  // the layer whose gradients have been exchanged last, and the place behind the first exchange of them
  std::size_t behind_first_exchange_ = 0;
};

}  // namespace moesim
