#include "exec/comm/operation.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace moesim {

Operation::Operation(OperationLabel label, Schedule schedule)
    : label_(std::move(label)), schedule_(std::move(schedule)) {}

Status Operation::start(Transport& transport) {
  MOESIM_ASSERT(next_round_ == 0 && !in_round_);
  if (schedule_.rounds.empty()) return {};
  return post_round(transport);
}

Status Operation::post_round(Transport& transport) {
  const Round& round = schedule_.rounds[next_round_++];
  in_round_ = true;
  outgoing_.clear();
  incoming_.clear();
  outgoing_.resize(round.sends.size());
  incoming_.resize(round.receives.size());
  open_ = outgoing_.size() + incoming_.size();
  for (std::size_t i = 0; i < incoming_.size(); ++i)
    MOESIM_TRY(
        incoming_[i].start(transport, round.receives[i].from, label_.tag, label_.header, round.receives[i].data));
  for (std::size_t i = 0; i < outgoing_.size(); ++i)
    MOESIM_TRY(outgoing_[i].start(transport, round.sends[i].to, label_.tag, label_.header, round.sends[i].data));
  return {};
}

Result<bool> Operation::look_at_messages(Transport& transport) {
  bool moved = false;
  const auto look = [&](auto& message) -> Status {
    if (message.done()) return {};
    MOESIM_ASSIGN(const bool finished, message.advance(transport));
    if (!finished) return {};
    moved = true;
    --open_;
    return {};
  };
  for (IncomingMessage& message : incoming_) MOESIM_TRY(look(message));
  for (OutgoingMessage& message : outgoing_) MOESIM_TRY(look(message));
  return moved;
}

Result<bool> Operation::advance(Transport& transport) {
  bool moved = false;
  while (in_round_) {
    auto looked = look_at_messages(transport);
    if (!looked) {
      looked.error().what = name() + ": " + looked.error().what;
      return tl::unexpected(std::move(looked).error());
    }
    moved = moved || *looked;
    if (open_ > 0) break;
    for (const LocalStep& step : schedule_.rounds[next_round_ - 1].locals) run(step);
    moved = true;
    in_round_ = false;
    if (!done()) {
      MOESIM_TRY(post_round(transport));
      continue;
    }
    // Whoever keeps the request need not keep the memory.
    outgoing_.clear();
    incoming_.clear();
    schedule_.scratch.clear();
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
  for (const IncomingMessage& message : incoming_)
    if (!message.done()) (message.begun() ? slow : silent).push_back(message.from());
  for (const OutgoingMessage& message : outgoing_)
    if (!message.done()) deaf.push_back(message.to());
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
