#include "exec/comm/operation.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace moesim {

Operation::Operation(OperationLabel label, Schedule schedule)
    : label_(std::move(label)), schedule_(std::move(schedule)) {
  streams_[0].rounds = schedule_.rounds;
  streams_[1].rounds = schedule_.beside;
}

Status Operation::start(Transport& transport) {
  for (Stream& stream : streams_) {
    MOESIM_ASSERT(stream.next_round == 0 && !stream.in_round);
    if (!stream.rounds.empty()) MOESIM_TRY(post_round(transport, stream));
  }
  return {};
}

Status Operation::post_round(Transport& transport, Stream& stream) {
  const Round& round = stream.rounds[stream.next_round++];
  stream.in_round = true;
  stream.outgoing.clear();
  stream.incoming.clear();
  stream.outgoing.resize(round.sends.size());
  stream.incoming.resize(round.receives.size());
  stream.open = stream.outgoing.size() + stream.incoming.size();
  for (std::size_t i = 0; i < stream.incoming.size(); ++i)
    MOESIM_TRY(
        stream.incoming[i].start(transport, round.receives[i].from, label_.tag, label_.header, round.receives[i].data));
  for (std::size_t i = 0; i < stream.outgoing.size(); ++i)
    MOESIM_TRY(stream.outgoing[i].start(transport, round.sends[i].to, label_.tag, label_.header, round.sends[i].data));
  return {};
}

Result<bool> Operation::look_at_messages(Transport& transport, Stream& stream) {
  bool moved = false;
  const auto look = [&](auto& message) -> Status {
    if (message.done()) return {};
    MOESIM_ASSIGN(const bool finished, message.advance(transport));
    if (!finished) return {};
    moved = true;
    --stream.open;
    return {};
  };
  for (IncomingMessage& message : stream.incoming) MOESIM_TRY(look(message));
  for (OutgoingMessage& message : stream.outgoing) MOESIM_TRY(look(message));
  return moved;
}

Result<bool> Operation::advance(Transport& transport) {
  bool moved = false;
  for (Stream& stream : streams_) {
    MOESIM_ASSIGN(const bool went_on, advance(transport, stream));
    moved = moved || went_on;
  }
  // Whoever keeps the request need not keep the memory.
  if (done()) schedule_.scratch.clear();
  return moved;
}

Result<bool> Operation::advance(Transport& transport, Stream& stream) {
  bool moved = false;
  while (stream.in_round) {
    auto looked = look_at_messages(transport, stream);
    if (!looked) {
      looked.error().what = name() + ": " + looked.error().what;
      return tl::unexpected(std::move(looked).error());
    }
    moved = moved || *looked;
    if (stream.open > 0) break;
    for (const LocalStep& step : stream.rounds[stream.next_round - 1].locals) run(step);
    moved = true;
    stream.in_round = false;
    if (!stream.done()) {
      MOESIM_TRY(post_round(transport, stream));
      continue;
    }
    stream.outgoing.clear();
    stream.incoming.clear();
  }
  return moved;
}

std::string Operation::name() const {
  const MessageHeader& header = label_.header;
  if (header.kind == CommKind::kMessage)
    return fmt::format("message #{} from rank {} to rank {} on channel {}", header.sequence, label_.ranks[0].value(),
                       label_.ranks[1].value(), header.channel);
  return fmt::format("{} #{} on channel {} of the group {}", comm_kind_name(header.kind), header.sequence,
                     header.channel, ranks_to_text(label_.ranks));
}

std::string Operation::waits_for() const {
  std::vector<RankId> silent, slow, deaf;
  for (const Stream& stream : streams_) {
    for (const IncomingMessage& message : stream.incoming)
      if (!message.done()) (message.begun() ? slow : silent).push_back(message.from());
    for (const OutgoingMessage& message : stream.outgoing)
      if (!message.done()) deaf.push_back(message.to());
  }
  std::string text;
  const auto add = [&](std::vector<RankId>& ranks, std::string_view pattern) {
    if (ranks.empty()) return;
    std::ranges::sort(ranks);
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", pattern, ranks_to_text(ranks));
  };
  add(silent, "nothing came from ranks");
  add(slow, "only a part came from ranks");
  add(deaf, "nothing was taken by ranks");
  return text;
}

}  // namespace moesim
