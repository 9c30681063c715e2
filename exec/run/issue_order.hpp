// The order in which a rank runs the operations of its stage: the engine's rules (sim/engine/replay_program.hpp) for real time.
//
// The calls of the stage are issued op by op, each to its stream. A stream runs its operations in that order; one may start when
// those that made its operands in the same block have ended, its `after` has, and everything that was issued before it to the
// streams it waits for. Who runs them asks `startable`, says `start` and `end`; several may be between the two, one for each
// stream.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sim/program/block_dependencies.hpp"
#include "sim/program/program.hpp"

namespace moesim {

class IssueOrder {
 public:
  struct Item {
    std::int32_t call = 0;  // of the stage
    std::int32_t op = 0;    // of the call's block
    Stream stream = Stream::kCompute;
    std::int32_t waits = -1;  // index into waits_
  };

  IssueOrder(const Program& program, StageId stage);  // the program must outlive this

  void restart();
  [[nodiscard]] bool finished() const { return ended_items_ == items_.size(); }
  // The item that stream could start now, or -1. An operation given ahead joins those of its stream that have started and not
  // ended: whoever runs them keeps them in order.
  enum class Join : std::uint8_t { kWhenFree, kAhead };
  [[nodiscard]] std::int32_t startable(Stream stream, Join join = Join::kWhenFree) const;
  void start(std::int32_t item);
  void end(std::int32_t item);
  [[nodiscard]] const Item& item(std::int32_t index) const { return items_[static_cast<std::size_t>(index)]; }
  [[nodiscard]] const Call& call(const Item& item) const;
  [[nodiscard]] const Block& block(const Item& item) const;
  [[nodiscard]] const Op& op(const Item& item) const;
  // Whether all operations of a call have ended.
  [[nodiscard]] bool call_ended(std::int32_t call) const { return left_in_call_[static_cast<std::size_t>(call)] == 0; }
  // What the streams wait for, for a message.
  [[nodiscard]] std::string waiting() const;

 private:
  using Counts = std::array<std::uint32_t, kStreams>;

  const Program& program_;
  StageId stage_;
  std::vector<BlockDependencies> deps_;  // by block; empty where no call needs it
  std::vector<Item> items_;
  std::vector<std::int32_t> first_item_;  // by call
  std::vector<Counts> waits_;             // operations of each stream that must have ended
  std::array<std::vector<std::int32_t>, kStreams> queues_;
  // While running.
  Counts started_{};
  Counts ended_{};
  std::vector<bool> done_;
  std::vector<std::int32_t> left_in_call_;
  std::size_t ended_items_ = 0;
};

}  // namespace moesim
