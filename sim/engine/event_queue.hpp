// The pending events: a 4-ary heap of 16-byte keys that hold time, sequence number and payload in one 128-bit integer.
//
// One comparison orders by (time, sequence), so equal times come out in the order of their pushes and a replay is the
// same on every machine. A popped slot is left open until the next call: the push that nearly always follows (an
// operation ends, the next one starts) fills it with one sift instead of two.
// An event cannot be taken back. Whoever moved one remembers the sequence number of the valid event and ignores others.
//
// Limits: time >= 0, 2^36 pushes, payloads below 2^28. Worked: push(5, a), push(3, b), push(5, c) pops b, a, c.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.hpp"
#include "sim/engine/replay_program.hpp"
#include "sim/engine/wide_integer.hpp"

namespace moesim {

struct Event {
  Picoseconds time = 0;
  std::uint64_t sequence = 0;
  std::uint32_t payload = 0;
};

class EventQueue {
 public:
  static constexpr std::uint32_t kPayloads = 1U << 28;

  void reserve(std::size_t events) { heap_.reserve(events); }
  [[nodiscard]] bool empty() const { return heap_.size() == open_; }
  [[nodiscard]] std::uint64_t pushes() const { return sequence_; }

  // The sequence number of the event.
  std::uint64_t push(Picoseconds time, std::uint32_t payload) {
    const std::uint64_t sequence = sequence_++;
    const Key key = (static_cast<Key>(static_cast<std::uint64_t>(time)) << 64) | (sequence << kPayloadBits) | payload;
    if (open_ != 0) {
      open_ = 0;
      sift_down(key);
    } else {
      heap_.push_back(key);
      sift_up(heap_.size() - 1, key);
    }
    return sequence;
  }

  // The earliest time; the queue must not be empty.
  [[nodiscard]] Picoseconds next_time() {
    close();
    return static_cast<Picoseconds>(static_cast<std::uint64_t>(heap_.front() >> 64));
  }

  [[nodiscard]] Event pop() {
    close();
    open_ = 1;
    return event_of(heap_.front());
  }

  // All events, in no order.
  [[nodiscard]] std::vector<Event> events() const {
    std::vector<Event> all;
    for (std::size_t i = open_; i < heap_.size(); ++i) all.push_back(event_of(heap_[i]));
    return all;
  }

  // Lets every event happen that much later.
  void move(Picoseconds by) {
    for (Key& key : heap_) key += static_cast<Key>(static_cast<std::uint64_t>(by)) << 64;
  }

 private:
  using Key = UInt128;
  static constexpr unsigned kPayloadBits = 28;
  static constexpr std::size_t kChildren = 4;

  static Event event_of(Key key) {
    const auto low = static_cast<std::uint64_t>(key);
    return {static_cast<Picoseconds>(static_cast<std::uint64_t>(key >> 64)), low >> kPayloadBits,
            static_cast<std::uint32_t>(low & (kPayloads - 1))};
  }

  // Fills the slot of the last pop from the end of the heap.
  void close() {
    if (open_ == 0) return;
    open_ = 0;
    const Key last = heap_.back();
    heap_.pop_back();
    if (!heap_.empty()) sift_down(last);
  }

  void sift_up(std::size_t at, Key key) {
    while (at > 0) {
      const std::size_t parent = (at - 1) / kChildren;
      if (heap_[parent] <= key) break;
      heap_[at] = heap_[parent];
      at = parent;
    }
    heap_[at] = key;
  }

  // Puts `key` in at the root. Which child is least cannot be predicted, so full families are compared without branches.
  void sift_down(Key key) {
    Key* const heap = heap_.data();
    const std::size_t size = heap_.size();
    std::size_t at = 0;
    for (std::size_t first = 1; first + kChildren <= size; first = at * kChildren + 1) {
      const std::size_t low = first + (heap[first + 1] < heap[first] ? 1 : 0);
      const std::size_t high = first + (heap[first + 3] < heap[first + 2] ? 3 : 2);
      const std::size_t least = heap[high] < heap[low] ? high : low;
      if (key <= heap[least]) {
        heap[at] = key;
        return;
      }
      heap[at] = heap[least];
      at = least;
    }
    const std::size_t first = at * kChildren + 1;
    if (first < size) {  // the last family, which has fewer
      std::size_t least = first;
      for (std::size_t child = first + 1; child < size; ++child) {
        if (heap[child] < heap[least]) least = child;
      }
      if (heap[least] < key) {
        heap[at] = heap[least];
        at = least;
      }
    }
    heap[at] = key;
  }

  std::vector<Key> heap_;
  std::size_t open_ = 0;  // 1: the root has been popped and not yet replaced
  std::uint64_t sequence_ = 0;
};

}  // namespace moesim
