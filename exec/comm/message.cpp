#include "exec/comm/message.hpp"

#include <fmt/format.h>

#include <cstring>

namespace moesim {

std::string_view comm_kind_name(CommKind kind) {
  switch (kind) {
    case CommKind::kAllToAllV: return "all_to_all_v";
    case CommKind::kAllGather: return "all_gather";
    case CommKind::kReduceScatter: return "reduce_scatter";
    case CommKind::kAllReduce: return "all_reduce";
    case CommKind::kBroadcast: return "broadcast";
    case CommKind::kBarrier: return "barrier";
    case CommKind::kMessage: return "message";
  }
  return "unknown operation";
}

std::string header_to_text(const MessageHeader& header) {
  return fmt::format("{} #{} on channel {} with {} bytes", comm_kind_name(header.kind), header.sequence, header.channel,
                     header.length);
}

Status OutgoingMessage::start(Transport& transport, RankId to, int tag, MessageHeader header,
                              std::span<const std::byte> data) {
  to_ = to;
  header.length = data.size();
  const bool in_one = data.size() <= kInlineBytes;
  packed_.resize(sizeof header + (in_one ? data.size() : 0));
  std::memcpy(packed_.data(), &header, sizeof header);
  if (in_one && !data.empty()) std::memcpy(packed_.data() + sizeof header, data.data(), data.size());
  MOESIM_ASSIGN(const TransferId head, transport.send(to, tag, packed_));
  pending_.push_back(head);
  if (in_one) return {};
  MOESIM_ASSIGN(const TransferId body, transport.send(to, tag, data));
  pending_.push_back(body);
  return {};
}

Result<bool> OutgoingMessage::advance(Transport& transport) {
  while (!pending_.empty()) {
    MOESIM_ASSIGN(const auto sent, transport.take_if_done(pending_.back()));
    if (!sent) return false;
    pending_.pop_back();
  }
  return true;
}

Status IncomingMessage::start(Transport& transport, RankId from, int tag, MessageHeader expected,
                              std::span<std::byte> data) {
  from_ = from;
  expected_ = expected;
  expected_.length = data.size();
  data_ = data;
  packed_.resize(kPackedBytes);
  MOESIM_ASSIGN(head_, transport.receive(from, tag, packed_));
  if (data.size() <= kInlineBytes) return {};
  MOESIM_ASSIGN(body_, transport.receive(from, tag, data));
  return {};
}

Result<bool> IncomingMessage::advance(Transport& transport) {
  if (head_.valid()) {
    MOESIM_ASSIGN(const auto bytes, transport.take_if_done(head_));
    if (!bytes) return false;
    head_ = {};
    MOESIM_TRY(accept_head(*bytes));
  }
  if (body_.valid()) {
    MOESIM_ASSIGN(const auto bytes, transport.take_if_done(body_));
    if (!bytes) return false;
    body_ = {};
    if (*bytes != data_.size())
      return fail(ErrorKind::kInternal,
                  fmt::format("rank {} announced {} bytes and sent {}", from_.value(), data_.size(), *bytes));
  }
  return true;
}

Status IncomingMessage::accept_head(std::size_t bytes) {
  MessageHeader header;
  if (bytes < sizeof header)
    return fail(ErrorKind::kInternal, fmt::format("rank {} sent {} bytes that are no message", from_.value(), bytes));
  std::memcpy(&header, packed_.data(), sizeof header);
  if (header != expected_) {
    const bool only_detail = header_to_text(header) == header_to_text(expected_);
    return fail(
        ErrorKind::kInternal,
        fmt::format("rank {} sent {}{}, expected was {}", from_.value(), header_to_text(header),
                    only_detail ? " but another root, reduction or number format" : "", header_to_text(expected_)),
        {}, "all ranks must run the same plan with the same options");
  }
  const std::size_t inlined = bytes - sizeof header;
  if (inlined != (body_.valid() ? 0 : data_.size()))
    return fail(ErrorKind::kInternal,
                fmt::format("rank {} announced {} bytes and sent {}", from_.value(), header.length, inlined));
  if (inlined > 0) std::memcpy(data_.data(), packed_.data() + sizeof header, inlined);
  return {};
}

}  // namespace moesim
