#include "sim/program/guest_traffic.hpp"

#include "sim/plan/layer_slots.hpp"

namespace moesim {

std::vector<std::int64_t> guest_bytes(const Program& program, const Op& op) {
  const int ep = program.plan.sizes().ep;
  std::vector<std::int64_t> bytes(static_cast<std::size_t>(ep) * static_cast<std::size_t>(ep), 0);
  const WeightBucket& bucket = program.buckets[static_cast<std::size_t>(op.bucket)];
  for (const TensorId id : bucket.weights) {
    const Tensor& weight = program.chunks[static_cast<std::size_t>(bucket.chunk)].tensors[id.index()];
    const bool out = op.kind == OpKind::kGatherParams;
    const std::int64_t matrix =
        storage(weight.rows.count * weight.columns, out ? weight.type : program.recipe.gradient).count();
    const LayerSlots slots(program.plan.expert_slots, program.model.moe_layers_before(weight.layer),
                           program.model.layer(weight.layer).moe->experts, ep);
    for (std::int64_t slot = 0; slot < slots.slots(); ++slot) {
      if (!slots.is_guest(slot)) continue;
      const auto home = static_cast<std::size_t>(slots.device_of(slots.home(slots.expert(slot))));
      const auto guest = static_cast<std::size_t>(slots.device_of(slot));
      const auto members = static_cast<std::size_t>(ep);
      bytes[out ? home * members + guest : guest * members + home] += matrix;
    }
  }
  return bytes;
}

}  // namespace moesim
