// Bytes between processes over connected sockets, one for every two ranks (meeting.hpp).
//
// A message is its tag and length, then its bytes; those of one connection arrive in order. What arrives goes straight into the
// buffer of the receive that waits for it, or is kept until one is posted. Sending takes what the system takes at once, the rest
// follows in progress(). Nothing waits.
//
// Who leaves in order says so. A connection that ends without is a rank that died: rank 0, which is connected to all, makes an error
// of it, so that there is one reason; the others end when rank 0 tells them to, or has itself died. abort_all tells all others
// to end, which they do without a word, as when a launcher ends them, and ends this process.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "exec/comm/meeting.hpp"
#include "exec/comm/transfer_table.hpp"
#include "exec/comm/transport.hpp"

namespace moesim {

// Ends the process and says nothing: the rank that found the error has. Where it returns, an error is returned instead.
using EndProcess = std::function<void()>;

class SocketTransport final : public Transport {
 public:
  // `connections` by rank, none for `self`.
  SocketTransport(RankId self, std::vector<Socket> connections, EndProcess end_process);
  ~SocketTransport() override;

  [[nodiscard]] RankId rank() const override { return self_; }
  [[nodiscard]] int size() const override { return static_cast<int>(peers_.size()); }
  [[nodiscard]] std::string_view host_of(RankId) const override { return "here"; }
  [[nodiscard]] int largest_tag() const override { return INT32_MAX; }
  [[nodiscard]] Result<TransferId> send(RankId to, int tag, std::span<const std::byte> data) override;
  [[nodiscard]] Result<TransferId> receive(RankId from, int tag, std::span<std::byte> data) override;
  [[nodiscard]] Result<bool> progress() override;
  [[nodiscard]] Result<std::optional<std::size_t>> take_if_done(TransferId transfer) override;
  void abort_all(std::string_view reason) override;
  void give_up() override { given_up_ = true; }

 private:
  struct Head {
    std::int32_t tag = 0;  // below 0: what is said beside messages
    std::uint32_t unused = 0;
    std::uint64_t bytes = 0;
  };
  struct Transfer {
    std::span<std::byte> into;  // of a receive
    bool receives = false;
    std::optional<std::size_t> moved;
  };
  struct Leaving {
    TransferId id;
    Head head;
    std::span<const std::byte> data;
    std::size_t gone = 0;  // of head and data
  };
  struct Line {  // what came whole from one sender with one tag, and what waits for it; one of the two is empty
    std::deque<std::vector<std::byte>> early;
    std::deque<TransferId> waiting;
  };
  struct Peer {
    Socket socket;
    std::deque<Leaving> leaving;
    Head head;  // of the message that is arriving
    std::size_t head_there = 0;
    std::size_t there = 0;
    TransferId into;  // the receive that waits for it; invalid: kept
    std::vector<std::byte> kept;
    bool said_goodbye = false;
    bool ended = false;
  };
  enum class Came : std::uint8_t { kNothing, kSomething, kEnd };

  [[nodiscard]] Line& line(RankId from, int tag) { return lines_[{from, tag}]; }
  // True: something moved.
  [[nodiscard]] Result<bool> push(Peer& peer);
  [[nodiscard]] Result<bool> pull(RankId from);
  [[nodiscard]] static Came read(Peer& peer, std::byte* to, std::size_t bytes, std::size_t& there);
  [[nodiscard]] Status begin_message(RankId from);
  void end_message(RankId from);
  void deliver(RankId from, int tag, std::vector<std::byte> message);
  [[nodiscard]] Status take_end(RankId from);
  [[nodiscard]] Status end_with(RankId other);
  // Waits for a short time at most until it is on its way.
  void tell_all(std::int32_t tag);

  RankId self_;
  EndProcess end_process_;
  std::vector<Peer> peers_;
  TransferTable<Transfer> transfers_;
  std::map<std::pair<RankId, int>, Line> lines_;
  bool given_up_ = false;
};

}  // namespace moesim
