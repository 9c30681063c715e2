// A collective as one rank sees it: rounds of messages, with arithmetic between them. What is sent depends on sizes alone, so an
// algorithm writes the whole schedule down at the start, and one loop (operation.hpp) runs every algorithm.
//
// In a round all sends and receives are in flight together; its local steps run in order when all are done, then the next
// round begins. Example, pairwise all-to-all of 3 ranks: 2 rounds of one send and one receive, and one local copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/ids.hpp"
#include "exec/comm/communicator.hpp"
#include "exec/comm/reduce.hpp"

namespace moesim {

struct SendStep {
  RankId to;
  std::span<const std::byte> data;
};

struct ReceiveStep {
  RankId from;
  std::span<std::byte> data;
};

struct LocalStep {
  enum class Kind : std::uint8_t { kCopy, kReduce, kWiden, kNarrow };
  Kind kind = Kind::kCopy;
  std::span<std::byte> into;
  std::span<const std::byte> from;
  Reduction how{};  // of kReduce, and so is the order
  OperandOrder order = OperandOrder::kIntoFirst;
};
void run(const LocalStep& step);

struct Round {
  std::vector<SendStep> sends;
  std::vector<ReceiveStep> receives;
  std::vector<LocalStep> locals;
};

struct Schedule {
  std::vector<Round> rounds;
  // Rounds of a second stream: they follow one another and do not wait for those of the first. Both may not have messages
  // between the same two ranks.
  std::vector<Round> beside;
  std::vector<std::unique_ptr<std::byte[]>> scratch;

  Round& add_round() { return rounds.emplace_back(); }
  // Memory that lives as long as the schedule.
  [[nodiscard]] std::span<std::byte> add_scratch(std::size_t bytes);
  // The rounds of `other` behind these, stream by stream.
  void append(Schedule other);
};

// Cuts `buffer` into blocks of bytes[i] * unit; they must fill it.
[[nodiscard]] std::vector<std::span<const std::byte>> cut(std::span<const std::byte> buffer,
                                                          std::span<const std::int64_t> counts, std::int64_t unit);
[[nodiscard]] std::vector<std::span<std::byte>> cut(std::span<std::byte> buffer, std::span<const std::int64_t> counts,
                                                    std::int64_t unit);

}  // namespace moesim
