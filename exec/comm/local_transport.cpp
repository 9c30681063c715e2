#include "exec/comm/local_transport.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace moesim {

LocalHub::LocalHub(std::vector<std::string> hosts) : hosts_(std::move(hosts)), mailboxes_(hosts_.size()) {}

void LocalHub::deliver(RankId to, Letter letter) {
  Mailbox& box = mailboxes_[to.index()];
  const std::lock_guard lock(box.mutex);
  box.letters.push_back(std::move(letter));
  box.filled = true;
}

std::vector<LocalHub::Letter> LocalHub::collect(RankId rank) {
  Mailbox& box = mailboxes_[rank.index()];
  if (!box.filled) return {};
  const std::lock_guard lock(box.mutex);
  box.filled = false;
  return std::exchange(box.letters, {});
}

void LocalHub::abort_all(RankId by, std::string_view reason) {
  const std::lock_guard lock(mutex_);
  if (aborted_) return;
  reason_ = fmt::format("rank {} ended the work of all: {}", by.value(), reason);
  aborted_ = true;
}

Status LocalHub::health() const {
  if (!aborted_) return {};
  const std::lock_guard lock(mutex_);
  return fail(ErrorKind::kInternal, reason_);
}

Result<TransferId> LocalTransport::send(RankId to, int tag, std::span<const std::byte> data) {
  hub_.deliver(to, {rank_, tag, {data.begin(), data.end()}});
  return transfers_.add({.into = {}, .moved = data.size()});
}

Result<TransferId> LocalTransport::receive(RankId from, int tag, std::span<std::byte> data) {
  const TransferId id = transfers_.add({.into = data, .moved = {}});
  Line& here = line(from, tag);
  if (here.early.empty()) {
    here.waiting.push_back(id);
    return id;
  }
  finish(id, here.early.front());
  here.early.pop_front();
  return id;
}

Result<bool> LocalTransport::progress() {
  MOESIM_TRY(hub_.health());
  std::vector<LocalHub::Letter> letters = hub_.collect(rank_);
  for (LocalHub::Letter& letter : letters) {
    Line& here = line(letter.from, letter.tag);
    if (here.waiting.empty()) {
      here.early.push_back(std::move(letter.data));
      continue;
    }
    finish(here.waiting.front(), letter.data);
    here.waiting.pop_front();
  }
  return !letters.empty();
}

void LocalTransport::finish(TransferId id, const std::vector<std::byte>& data) {
  Transfer& transfer = transfers_[id];
  const std::size_t fits = std::min(transfer.into.size(), data.size());
  if (fits > 0) std::memcpy(transfer.into.data(), data.data(), fits);
  transfer.moved = data.size();  // more than fits is found out when it is taken
}

Result<std::optional<std::size_t>> LocalTransport::take_if_done(TransferId id) {
  const Transfer transfer = transfers_[id];
  if (!transfer.moved) return std::nullopt;
  transfers_.remove(id);
  if (transfer.into.data() != nullptr && *transfer.moved > transfer.into.size())
    return fail(ErrorKind::kInternal,
                fmt::format("{} bytes came for a buffer of {}", *transfer.moved, transfer.into.size()));
  return transfer.moved;
}

}  // namespace moesim
