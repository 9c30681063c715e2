#include "sim/pipeline/activation_front.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"

namespace moesim {
namespace {

using Counts = std::vector<std::int32_t>;  // [chunk of the stage][whole, weight part only]

bool covers(const Counts& a, const Counts& b) {
  return std::equal(a.begin(), a.end(), b.begin(), [](std::int32_t x, std::int32_t y) { return x >= y; });
}

// Keeps those that no other covers. The last one that covered comes first: the steady state repeats itself.
class Front {
 public:
  void add(const Counts& counts) {
    for (std::size_t i = 0; i < kept_.size(); ++i)
      if (covers(kept_[i], counts)) {
        std::swap(kept_[i], kept_.front());
        return;
      }
    std::erase_if(kept_, [&](const Counts& other) { return covers(counts, other); });
    kept_.push_back(counts);
  }
  [[nodiscard]] const std::vector<Counts>& kept() const { return kept_; }

 private:
  std::vector<Counts> kept_;
};

}  // namespace

ActivationFront::ActivationFront(const CompiledPipeline& pipeline)
    : stages_(static_cast<std::size_t>(pipeline.shape.stages)) {
  std::vector<std::size_t> place(static_cast<std::size_t>(pipeline.chunks));
  for (std::int32_t chunk = 0; chunk < pipeline.chunks; ++chunk) {
    Stage& stage = stages_[static_cast<std::size_t>(pipeline.stage_of[static_cast<std::size_t>(chunk)])];
    place[static_cast<std::size_t>(chunk)] = 2 * stage.chunks.size();
    stage.chunks.push_back(chunk);
  }
  std::vector<Counts> held;
  for (const Stage& stage : stages_) held.emplace_back(2 * stage.chunks.size(), 0);
  std::vector<Front> forward(stages_.size());
  std::vector<Front> input(stages_.size());
  for (std::size_t i = 0; i < pipeline.slots.size(); ++i) {
    const Slot& slot = pipeline.slots[i];
    const auto stage = static_cast<std::size_t>(pipeline.steps[i].stage);
    Counts& counts = held[stage];
    const auto at = [&](std::int32_t chunk) {
      return counts.begin() + static_cast<std::ptrdiff_t>(place[static_cast<std::size_t>(chunk)]);
    };
    switch (slot.kind) {
      case SlotKind::kForward:
        ++*at(slot.chunk);
        forward[stage].add(counts);
        break;
      case SlotKind::kForwardBackward:
        ++*at(slot.chunk);
        forward[stage].add(counts);
        --*at(slot.backward_chunk);
        break;
      case SlotKind::kBackward: --*at(slot.chunk); break;
      case SlotKind::kBackwardInput:
        --*at(slot.chunk);
        ++*(at(slot.chunk) + 1);
        input[stage].add(counts);
        break;
      case SlotKind::kBackwardWeight: --*(at(slot.chunk) + 1); break;
    }
  }
  for (std::size_t stage = 0; stage < stages_.size(); ++stage)
    for (const auto& [front, list] : {std::pair(&forward[stage], &stages_[stage].after_forward),
                                      std::pair(&input[stage], &stages_[stage].after_input)})
      for (const Counts& counts : front->kept()) list->insert(list->end(), counts.begin(), counts.end());
}

void ActivationFront::peaks(const ActivationBytes& bytes, std::span<const std::int64_t> working,
                            std::span<std::int64_t> peak) const {
  MOESIM_ASSERT(peak.size() == stages_.size() && working.size() == stages_.size());
  for (std::size_t s = 0; s < stages_.size(); ++s) {
    const Stage& stage = stages_[s];
    const auto most = [&](const std::vector<std::int32_t>& counts) {
      std::int64_t highest = 0;
      for (std::size_t i = 0; i < counts.size();) {
        std::int64_t held = 0;
        for (const std::int32_t chunk : stage.chunks) {
          held += counts[i++] * bytes.forward[static_cast<std::size_t>(chunk)];
          held += counts[i++] * bytes.weight_part[static_cast<std::size_t>(chunk)];
        }
        highest = std::max(highest, held);
      }
      return highest;
    };
    peak[s] = std::max(most(stage.after_forward) + working[s], most(stage.after_input));
  }
}

std::size_t ActivationFront::size() const {
  std::size_t size = 0;
  for (const Stage& stage : stages_)
    size += (stage.after_forward.size() + stage.after_input.size()) / std::max<std::size_t>(1, 2 * stage.chunks.size());
  return size;
}

}  // namespace moesim
