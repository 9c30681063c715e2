// What a run must be told beyond its plan and its model: numbers that change results but no shapes.
#pragma once

#include <cstdint>

#include "exec/compute/layer_args.hpp"

namespace moesim {

enum class Gating : std::uint8_t {
  kLearned,  // the experts that the gate's logits choose
  kReplay,   // as many copies for each expert as the program's RoutedLoads say; the logits choose which tokens
};

struct RunSettings {
  AdamWSettings optimizer;
  float clip_norm = 0.0F;  // gradients are scaled down to this norm; 0: never
  double rope_theta = 10000.0;
  float norm_epsilon = 1e-5F;
  bool normalise_gate = true;  // the weights of a token's experts add up to gate_scale
  float gate_scale = 1.0F;
  ActivationKind ungated = ActivationKind::kGelu;  // of feed-forward blocks without a gate
  Gating gating = Gating::kLearned;
  // Of the auxiliary loss for even loads (routing_args.hpp), which each rank takes over the tokens of its micro-batch, as
  // Megatron-LM and DeepSpeed do: gradients then depend on how tokens are spread. Their mean is added to the loss that is
  // differentiated, not to the one that is told. 0: none.
  float balance_coefficient = 0.0F;
  std::uint64_t seed = 1;  // of the initial weights
};

}  // namespace moesim
