#include "sim/lower/ffn.hpp"

#include "sim/lower/tp_region.hpp"

namespace moesim {

TensorId lower_ffn(ChunkBuilder& b, TensorId x, const FfnShape& shape, FfnPlace place) {
  const bool dense = place == FfnPlace::kDense;
  const std::int64_t width = shape.width / b.plan().sizes().tp;
  const TensorId entered = enter_tp(b, dense ? "ffn.enter" : "shared.enter", x);
  const TensorId up = b.linear(dense ? "ffn.up" : "shared.up", entered,
                               {.in = b.model().hidden, .out = shape.gated ? 2 * width : width, .bias = shape.bias});
  const TensorId activated = b.activation(dense ? "ffn.activation" : "shared.activation", up, shape.gated);
  const TensorId down =
      b.linear(dense ? "ffn.down" : "shared.down", activated,
               {.in = width, .out = b.model().hidden, .bias = shape.bias, .bias_on_every_shard = true});
  return exit_tp(b, dense ? "ffn.exit" : "shared.exit", down);
}

}  // namespace moesim
