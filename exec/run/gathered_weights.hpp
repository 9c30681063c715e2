// ZeRO 3: the whole weights that a call has gathered from the ranks that own parts of them. A layer's are there from the
// start of their gathering until that of the second layer after it, as the memory walk counts them, and at most until the call
// ends. Both halves of a forward-backward pair gather for themselves.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "exec/run/device_memory.hpp"
#include "sim/memory/block_memory.hpp"

namespace moesim {

class GatheredWeights {
 public:
  // Which pass gathers, and over which group.
  struct Place {
    std::int32_t call = -1;
    std::int8_t half = 0;
    GroupKind group = GroupKind::kSelf;
    bool operator==(const Place&) const = default;
  };
  struct Weight {
    std::int32_t chunk = -1;
    TensorId weight;
    BufferPtr value;
  };

  // Drops what the layer that is about to be gathered takes the place of.
  void make_room(const Place& place) {
    auto gathered = std::ranges::count(entries_, place, &Entry::place);
    std::erase_if(entries_, [&](const Entry& entry) {
      return entry.place == place && gathered-- >= static_cast<std::ptrdiff_t>(kGatheredLayers);
    });
  }
  void put(const Place& place, std::vector<Weight> weights) { entries_.push_back({place, std::move(weights)}); }
  [[nodiscard]] BufferPtr find(std::int32_t call, std::int8_t half, std::int32_t chunk, TensorId weight) const {
    for (const Entry& entry : entries_) {
      if (entry.place.call != call || entry.place.half != half) continue;
      for (const Weight& known : entry.weights)
        if (known.chunk == chunk && known.weight == weight) return known.value;
    }
    return nullptr;
  }
  void end_call(std::int32_t call) {
    std::erase_if(entries_, [call](const Entry& entry) { return entry.place.call == call; });
  }
  void clear() { entries_.clear(); }

 private:
  struct Entry {
    Place place;
    std::vector<Weight> weights;
  };
  std::vector<Entry> entries_;  // oldest first
};

}  // namespace moesim
