// The most that the stages of a pipeline ever hold at once, for any sizes of activations.
//
// What a stage holds is, by chunk, how many micro-batches it has passed forward and not yet backward, and of how many it
// only keeps what the weight gradients need (more than the forward pass kept, where that was recomputed). Bytes grow with
// each of these counts, so the peak is reached at one of the count vectors that no other exceeds everywhere: a few per
// stage, found once per pipeline and shared by all plans of its shape. Equal to activation_peaks() (slot_check.hpp),
// which walks the slots.
// Example: 1F1B, 4 stages, 8 micro-batches: stage 0 holds at most (4), stage 3 (1).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/pipeline/slot_check.hpp"

namespace moesim {

class ActivationFront {
 public:
  explicit ActivationFront(const CompiledPipeline& pipeline);

  // `peak` is indexed by stage, and so is `working`: what a stage needs on top where a forward pass has just ended.
  void peaks(const ActivationBytes& bytes, std::span<const std::int64_t> working, std::span<std::int64_t> peak) const;
  // How many count vectors are kept, over all stages.
  [[nodiscard]] std::size_t size() const;

 private:
  struct Stage {
    std::vector<std::int32_t> chunks;
    // [vector][chunk][whole, weight part only]; those reached by a forward pass, and by the input half of a backward pass.
    std::vector<std::int32_t> after_forward;
    std::vector<std::int32_t> after_input;
  };
  std::vector<Stage> stages_;
};

}  // namespace moesim
