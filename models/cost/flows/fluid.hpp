// Flows that share links max-min fairly, as fluids: the rate of a flow can grow only where none that is slower would lose.
//
// Rates are constant between events (a batch starts, a batch ends). At an event only what is tied to a link of the batches that
// came or went, over active batches, is worked out anew (water filling: the link with the least capacity left per flow fixes its
// flows at that share, then the next). A *batch* is any number of flows of equal size that start together and have like links:
// they are one flow here, that counts as `flows` of them on one of the links.
//
// Ends within `window` of the first one are one event at the last of them: never too early, and at most one event per window.
// Deterministic; per event O(active batches), and O(uses + links log links) for what it touches. Worked: 2 flows of 1 GB over one link of 10 GB/s, one
// starting 50 ms later: 10 GB/s for 50 ms, 5 GB/s each until 150 ms, then 10 GB/s until 200 ms.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace moesim {

struct LinkUse {
  std::int32_t link = 0;
  double flows = 1;  // of the batch, over one such link
};

class FluidNetwork {
 public:
  explicit FluidNetwork(std::vector<double> bytes_per_second) : capacity_(std::move(bytes_per_second)) {}

  // `bytes` of each flow, above 0; at least one link. Returns its number.
  std::int32_t add(double bytes, double start_seconds, std::span<const LinkUse> uses);
  [[nodiscard]] std::int32_t batches() const { return static_cast<std::int32_t>(bytes_.size()); }

  struct Outcome {
    std::vector<double> ends;  // seconds, by batch
    double end = 0;
    std::int64_t events = 0;
  };
  [[nodiscard]] Outcome play(double window_seconds) const;

  [[nodiscard]] std::span<const LinkUse> uses_of(std::int32_t batch) const {
    const auto begin = static_cast<std::size_t>(first_use_[static_cast<std::size_t>(batch)]);
    return std::span(uses_).subspan(begin,
                                    static_cast<std::size_t>(first_use_[static_cast<std::size_t>(batch) + 1]) - begin);
  }
  [[nodiscard]] double bytes_of(std::int32_t batch) const { return bytes_[static_cast<std::size_t>(batch)]; }
  [[nodiscard]] double start_of(std::int32_t batch) const { return start_[static_cast<std::size_t>(batch)]; }
  [[nodiscard]] std::span<const double> capacities() const { return capacity_; }

 private:
  std::vector<double> capacity_;
  std::vector<double> bytes_;
  std::vector<double> start_;
  std::vector<LinkUse> uses_;
  std::vector<std::int64_t> first_use_ = {0};
};

}  // namespace moesim
