// One checked message of an operation: a header that says what it belongs to, then the payload.
//
// A short payload travels in one piece with its header; a longer one follows it as a transfer of its own, straight into the
// receiver's buffer. The receiver compares the header with what it expects before it believes anything, so members that
// disagree get an error that tells both sides, not each other's bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "exec/comm/communicator.hpp"
#include "exec/comm/transport.hpp"

namespace moesim {

enum class CommKind : std::uint8_t {
  kAllToAllV,
  kAllGather,
  kReduceScatter,
  kAllReduce,
  kBroadcast,
  kBarrier,
  kMessage,
};
[[nodiscard]] std::string_view comm_kind_name(CommKind kind);

// Equal on both ends of a message; compared byte by byte, so there is no padding in it.
struct MessageHeader {
  std::uint64_t group = 0;     // CommGroup::fingerprint, 0 for a message
  std::uint64_t length = 0;    // of the payload, bytes
  std::uint32_t sequence = 0;  // of the operation on its group and channel
  std::uint16_t detail = 0;    // reduction or root: see detail_of
  CommKind kind = CommKind::kMessage;
  std::uint8_t channel = 0;

  bool operator==(const MessageHeader&) const = default;
};
static_assert(sizeof(MessageHeader) == 24);
inline constexpr std::size_t kPackedBytes = 2048;  // largest message in one piece
inline constexpr std::size_t kInlineBytes = kPackedBytes - sizeof(MessageHeader);

[[nodiscard]] constexpr std::uint16_t detail_of(Reduction how) {
  return static_cast<std::uint16_t>(1 + static_cast<int>(how.type) * 16 + static_cast<int>(how.kind));
}

// "all_reduce #3 on channel 1 with 4096 bytes"
[[nodiscard]] std::string header_to_text(const MessageHeader& header);

class OutgoingMessage {
 public:
  [[nodiscard]] Status start(Transport& transport, RankId to, int tag, MessageHeader header,
                             std::span<const std::byte> data);
  // True: the buffer is free again.
  [[nodiscard]] Result<bool> advance(Transport& transport);
  [[nodiscard]] RankId to() const { return to_; }
  [[nodiscard]] bool done() const { return pending_.empty(); }

 private:
  RankId to_;
  std::vector<std::byte> packed_;
  std::vector<TransferId> pending_;
};

class IncomingMessage {
 public:
  [[nodiscard]] Status start(Transport& transport, RankId from, int tag, MessageHeader expected,
                             std::span<std::byte> data);
  // True: the data is there, and is what was expected.
  [[nodiscard]] Result<bool> advance(Transport& transport);
  [[nodiscard]] RankId from() const { return from_; }
  [[nodiscard]] bool begun() const { return !head_.valid(); }
  [[nodiscard]] bool done() const { return begun() && !body_.valid(); }

 private:
  [[nodiscard]] Status accept_head(std::size_t bytes);

  RankId from_;
  MessageHeader expected_;
  std::span<std::byte> data_;
  std::vector<std::byte> packed_;
  TransferId head_;
  TransferId body_;
};

}  // namespace moesim
