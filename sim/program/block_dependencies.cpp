#include "sim/program/block_dependencies.hpp"

#include <algorithm>
#include <array>

namespace moesim {

BlockDependencies block_dependencies(std::span<const Op> ops) {
  std::size_t tensors = 0;
  for (const Op& op : ops)
    for (const OperandList& list : {op.inputs, op.outputs})
      for (const TensorId id : list) tensors = std::max(tensors, id.index() + 1);
  // By half and tensor: 1 + the operation that made it last.
  std::array<std::vector<std::uint32_t>, 2> producer;
  producer.fill(std::vector<std::uint32_t>(tensors, 0));

  BlockDependencies result;
  result.first.reserve(ops.size() + 1);
  result.deps.reserve(2 * ops.size());
  for (std::uint32_t i = 0; i < ops.size(); ++i) {
    const Op& op = ops[i];
    result.first.push_back(static_cast<std::uint32_t>(result.deps.size()));
    const auto depend_on = [&](std::uint32_t dep) {
      if (std::find(result.deps.begin() + result.first.back(), result.deps.end(), dep) == result.deps.end())
        result.deps.push_back(dep);
    };
    std::vector<std::uint32_t>& made_by = producer[op.second_half != 0 ? 1 : 0];
    for (const TensorId id : op.inputs)
      if (made_by[id.index()] != 0) depend_on(made_by[id.index()] - 1);
    if (op.after >= 0) depend_on(static_cast<std::uint32_t>(op.after));
    for (const TensorId id : op.outputs) made_by[id.index()] = i + 1;
  }
  result.first.push_back(static_cast<std::uint32_t>(result.deps.size()));
  return result;
}

}  // namespace moesim
