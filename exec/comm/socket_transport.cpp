#include "exec/comm/socket_transport.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace moesim {
namespace {

constexpr std::int32_t kGoodbye = -1;
constexpr std::int32_t kEndAtOnce = -2;
constexpr int kPatienceMilliseconds = 1000;  // with a peer that takes nothing, when all is over

}  // namespace

SocketTransport::SocketTransport(RankId self, std::vector<Socket> connections, EndProcess end_process)
    : self_(self), end_process_(std::move(end_process)), peers_(connections.size()) {
  for (std::size_t rank = 0; rank < connections.size(); ++rank) peers_[rank].socket = std::move(connections[rank]);
}

SocketTransport::~SocketTransport() { tell_all(given_up_ ? kEndAtOnce : kGoodbye); }

void SocketTransport::abort_all(std::string_view /*reason*/) {
  tell_all(kEndAtOnce);
  end_process_();
}

void SocketTransport::tell_all(std::int32_t tag) {
  const Head head{.tag = tag};
  for (Peer& peer : peers_) {
    if (!peer.socket.is_open() || peer.ended) continue;
    // Amid a message nothing else can be said; the end of the connection will do.
    if (!peer.leaving.empty() && peer.leaving.front().gone > 0) continue;
    pollfd ready{peer.socket.get(), POLLOUT, 0};
    if (::poll(&ready, 1, kPatienceMilliseconds) > 0)
      std::ignore = ::send(peer.socket.get(), &head, sizeof head, MSG_NOSIGNAL);
  }
}

Result<TransferId> SocketTransport::send(RankId to, int tag, std::span<const std::byte> data) {
  const TransferId id = transfers_.add({});
  if (to == self_) {
    transfers_[id].moved = data.size();
    deliver(self_, tag, {data.begin(), data.end()});
    return id;
  }
  Peer& peer = peers_[to.index()];
  peer.leaving.push_back({id, {.tag = tag, .bytes = data.size()}, data});
  if (peer.leaving.size() == 1) {
    MOESIM_TRY(push(peer));
  }
  return id;
}

Result<TransferId> SocketTransport::receive(RankId from, int tag, std::span<std::byte> data) {
  const TransferId id = transfers_.add({.into = data, .receives = true, .moved = {}});
  Line& here = line(from, tag);
  if (here.early.empty()) {
    here.waiting.push_back(id);
    return id;
  }
  const std::vector<std::byte> message = std::move(here.early.front());
  here.early.pop_front();
  std::copy_n(message.begin(), std::min(message.size(), data.size()), data.begin());
  transfers_[id].moved = message.size();
  return id;
}

Result<bool> SocketTransport::progress() {
  std::vector<pollfd> ready;
  std::vector<RankId> whose;
  for (std::size_t rank = 0; rank < peers_.size(); ++rank) {
    const Peer& peer = peers_[rank];
    if (!peer.socket.is_open() || peer.ended) continue;
    const int events = POLLIN | (peer.leaving.empty() ? 0 : POLLOUT);
    ready.push_back({peer.socket.get(), static_cast<short>(events), 0});
    whose.emplace_back(static_cast<std::int32_t>(rank));
  }
  if (::poll(ready.data(), ready.size(), 0) <= 0) return false;
  bool moved = false;
  for (std::size_t i = 0; i < ready.size(); ++i) {
    if ((ready[i].revents & POLLOUT) != 0) {
      MOESIM_ASSIGN(const bool pushed, push(peers_[whose[i].index()]));
      moved = moved || pushed;
    }
    if ((ready[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0) {
      MOESIM_ASSIGN(const bool pulled, pull(whose[i]));
      moved = moved || pulled;
    }
  }
  return moved;
}

Result<bool> SocketTransport::push(Peer& peer) {
  bool moved = false;
  while (!peer.leaving.empty()) {
    Leaving& first = peer.leaving.front();
    const std::size_t of_head = std::min(first.gone, sizeof(Head));
    const std::size_t of_data = first.gone - of_head;
    // sendmsg() writes to none of it.
    std::array<iovec, 2> parts = {{{reinterpret_cast<std::byte*>(&first.head) + of_head, sizeof(Head) - of_head},
                                   {const_cast<std::byte*>(first.data.data()) + of_data, first.data.size() - of_data}}};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const ssize_t sent = ::sendmsg(peer.socket.get(), &message, MSG_NOSIGNAL);
    if (sent < 0) break;  // full; or closed, of which reading tells more
    moved = moved || sent > 0;
    first.gone += static_cast<std::size_t>(sent);
    if (first.gone < sizeof(Head) + first.data.size()) break;
    transfers_[first.id].moved = first.data.size();
    peer.leaving.pop_front();
  }
  return moved;
}

SocketTransport::Came SocketTransport::read(Peer& peer, std::byte* to, std::size_t bytes, std::size_t& there) {
  while (there < bytes) {
    const ssize_t got = ::recv(peer.socket.get(), to + there, bytes - there, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return Came::kNothing;
    if (got <= 0) return Came::kEnd;
    there += static_cast<std::size_t>(got);
  }
  return Came::kSomething;
}

Result<bool> SocketTransport::pull(RankId from) {
  Peer& peer = peers_[from.index()];
  bool moved = false;
  while (true) {
    if (peer.head_there < sizeof(Head)) {
      const Came head = read(peer, reinterpret_cast<std::byte*>(&peer.head), sizeof(Head), peer.head_there);
      if (head == Came::kEnd) {
        MOESIM_TRY(take_end(from));
        return true;
      }
      if (head == Came::kNothing) return moved;
      MOESIM_TRY(begin_message(from));
    }
    if (peer.head.tag >= 0) {
      std::byte* const to = peer.into.valid() ? transfers_[peer.into].into.data() : peer.kept.data();
      const std::size_t before = peer.there;
      const Came data = read(peer, to, peer.head.bytes, peer.there);
      moved = moved || peer.there > before;
      if (data == Came::kEnd) {
        MOESIM_TRY(take_end(from));
        return true;
      }
      if (data == Came::kNothing) return moved;
      end_message(from);
    }
    moved = true;
    peer.head_there = 0;
  }
}

Status SocketTransport::begin_message(RankId from) {
  Peer& peer = peers_[from.index()];
  peer.there = 0;
  peer.into = {};
  if (peer.head.tag == kEndAtOnce) return end_with(from);
  if (peer.head.tag == kGoodbye) {
    peer.said_goodbye = true;
    return {};
  }
  Line& here = line(from, peer.head.tag);
  if (!here.waiting.empty() && transfers_[here.waiting.front()].into.size() >= peer.head.bytes) {
    peer.into = here.waiting.front();
    here.waiting.pop_front();
  } else {
    peer.kept.resize(peer.head.bytes);
  }
  return {};
}

void SocketTransport::end_message(RankId from) {
  Peer& peer = peers_[from.index()];
  if (peer.into.valid()) {
    transfers_[peer.into].moved = peer.head.bytes;
    return;
  }
  deliver(from, peer.head.tag, std::exchange(peer.kept, {}));
}

void SocketTransport::deliver(RankId from, int tag, std::vector<std::byte> message) {
  Line& here = line(from, tag);
  if (here.waiting.empty()) {
    here.early.push_back(std::move(message));
    return;
  }
  Transfer& waiting = transfers_[here.waiting.front()];
  here.waiting.pop_front();
  std::copy_n(message.begin(), std::min(message.size(), waiting.into.size()), waiting.into.begin());
  waiting.moved = message.size();  // more than fits is found out when it is taken
}

Status SocketTransport::take_end(RankId from) {
  Peer& peer = peers_[from.index()];
  peer.ended = true;
  if (peer.said_goodbye) return {};
  if (self_ == RankId(0))
    return fail(ErrorKind::kInternal, fmt::format("the process of rank {} has died", from.value()));
  if (from == RankId(0)) return end_with(from);
  return {};  // rank 0 tells
}

Status SocketTransport::end_with(RankId other) {
  end_process_();
  return fail(ErrorKind::kInternal, fmt::format("rank {} has ended the work of all", other.value()));
}

Result<std::optional<std::size_t>> SocketTransport::take_if_done(TransferId id) {
  const Transfer transfer = transfers_[id];
  if (!transfer.moved) return std::nullopt;
  transfers_.remove(id);
  if (transfer.receives && *transfer.moved > transfer.into.size())
    return fail(ErrorKind::kInternal,
                fmt::format("{} bytes came for a buffer of {}", *transfer.moved, transfer.into.size()));
  return transfer.moved;
}

}  // namespace moesim
