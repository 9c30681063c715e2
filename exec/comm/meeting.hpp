// How the processes of one machine find together without a launcher: a TCP connection on 127.0.0.1 between every two of them.
//
// Whoever starts them opens a meeting point for each rank and draws a secret, before there are several; each rank then knows all
// ports and listens on its own. It connects to every rank below it and is called by every rank above it. Both ends of a connection
// tell the secret and their rank, so nobody who happens to call, or to listen on such a port, is taken for a rank: a caller who says
// anything else, or nothing, is hung up on and holds up nobody.
//
// Errors, all of them within `patience`: nobody listens on a port, or not the rank that should; a rank did not come.
// Example, 3 ranks: rank 2 calls 0 and 1, rank 1 calls 0: three connections, and rank 0 only listens.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/ids.hpp"
#include "exec/comm/communicator.hpp"

namespace moesim {

// A file descriptor that is closed with its owner.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  ~Socket();
  [[nodiscard]] int get() const { return descriptor_; }
  [[nodiscard]] bool is_open() const { return descriptor_ >= 0; }

 private:
  int descriptor_ = -1;
};

struct MeetingPoint {
  Socket listener;
  std::uint16_t port = 0;
};

using MeetingSecret = std::array<std::byte, 16>;

struct MeetingPlan {
  RankId self;
  std::vector<std::uint16_t> ports;  // by rank
  MeetingSecret secret{};
  Seconds patience{30};
};

// On a port that was free; calls are kept waiting until somebody looks.
[[nodiscard]] Result<MeetingPoint> open_meeting_point();
[[nodiscard]] Result<MeetingSecret> draw_secret();
// A connection to each rank, by rank, none to itself; they do not block, and send small messages at once.
[[nodiscard]] Result<std::vector<Socket>> meet_ranks(const MeetingPlan& plan, const Socket& listener,
                                                     const Clock& clock);

}  // namespace moesim
