#include "sim/engine/message_level.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.hpp"
#include "sim/engine/event_queue.hpp"

namespace moesim {
namespace {

class AllToAll {
 public:
  AllToAll(int ranks, std::span<const std::int64_t> bytes, BytesPerSecond bandwidth, Seconds latency)
      : ranks_(static_cast<std::uint32_t>(ranks)),
        bytes_(bytes),
        picoseconds_per_byte_(kPicosecondsPerSecond / bandwidth.value()),
        latency_(std::llround(latency.value() * kPicosecondsPerSecond)),
        out_(ranks_),
        in_free_(ranks_) {
    queue_.reserve(ranks_);
  }

  MessageLevelResult run() {
    for (std::uint32_t rank = 0; rank < ranks_; ++rank) send_next(rank, 0);
    while (!queue_.empty()) {
      const Event arrival = queue_.pop();
      receive(arrival);
      send_next(arrival.payload, arrival.time - latency_);
    }
    return result_;
  }

 private:
  // What a rank's port out is passing. Its event stands for the message's arrival at the other side.
  struct Out {
    std::uint32_t receiver = 0;
    std::uint32_t distance = 0;  // receiver - sender, cyclic
    Picoseconds duration = 0;
  };

  void send_next(std::uint32_t rank, Picoseconds now) {
    Out& out = out_[rank];
    const std::int64_t* const row = bytes_.data() + std::size_t{rank} * ranks_;
    while (++out.distance < ranks_) {
      out.receiver = rank + out.distance < ranks_ ? rank + out.distance : rank + out.distance - ranks_;
      if (row[out.receiver] == 0) continue;
      out.duration = std::llround(static_cast<double>(row[out.receiver]) * picoseconds_per_byte_);
      queue_.push(now + out.duration + latency_, rank);
      return;
    }
  }

  // Arrivals come in the order of time, so the port in serves them in that order by being busy until its last end.
  void receive(const Event& arrival) {
    const Out& out = out_[arrival.payload];
    Picoseconds& free = in_free_[out.receiver];
    free = std::max(free, arrival.time) + out.duration;
    result_.end = std::max(result_.end, free);
    ++result_.messages;
  }

  std::uint32_t ranks_;
  std::span<const std::int64_t> bytes_;
  double picoseconds_per_byte_;
  Picoseconds latency_;
  EventQueue queue_;
  std::vector<Out> out_;
  std::vector<Picoseconds> in_free_;
  MessageLevelResult result_;
};

void check_matrix(int ranks, std::span<const std::int64_t> bytes, BytesPerSecond bandwidth) {
  MOESIM_ASSERT(ranks > 0 && bytes.size() == static_cast<std::size_t>(ranks) * static_cast<std::size_t>(ranks));
  MOESIM_ASSERT(bandwidth.value() > 0);
}

}  // namespace

MessageLevelResult simulate_all_to_all(int ranks, std::span<const std::int64_t> bytes, BytesPerSecond bandwidth,
                                       Seconds latency) {
  check_matrix(ranks, bytes, bandwidth);
  return AllToAll(ranks, bytes, bandwidth, latency).run();
}

Picoseconds all_to_all_port_bound(int ranks, std::span<const std::int64_t> bytes, BytesPerSecond bandwidth) {
  check_matrix(ranks, bytes, bandwidth);
  const auto n = static_cast<std::size_t>(ranks);
  std::vector<std::int64_t> column(n);
  std::int64_t busiest = 0;
  for (std::size_t i = 0; i < n; ++i) {
    std::int64_t row = 0;
    for (std::size_t j = 0; j < n; ++j) {
      if (i == j) continue;
      row += bytes[i * n + j];
      column[j] += bytes[i * n + j];
    }
    busiest = std::max(busiest, row);
  }
  busiest = std::max(busiest, *std::max_element(column.begin(), column.end()));
  return std::llround(static_cast<double>(busiest) / bandwidth.value() * kPicosecondsPerSecond);
}

}  // namespace moesim
