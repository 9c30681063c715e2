#include "exec/comm/meeting.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace moesim {
namespace {

constexpr int kCallsKeptWaiting = 1024;
constexpr int kLookEveryMilliseconds = 50;

// What either end of a connection says first.
struct Hello {
  MeetingSecret secret{};
  std::int32_t rank = -1;
};

tl::unexpected<Error> socket_failure(std::string_view doing) {
  return fail(ErrorKind::kInternal, fmt::format("{}: {}", doing, std::strerror(errno)));
}

sockaddr_in local_address(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

// The socket interface takes addresses of all families by a pointer to their common beginning.
const sockaddr* general(const sockaddr_in& address) { return reinterpret_cast<const sockaddr*>(&address); }
sockaddr* general(sockaddr_in& address) { return reinterpret_cast<sockaddr*>(&address); }

void make_quick(const Socket& socket) {
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::fcntl(socket.get(), F_SETFL, O_NONBLOCK);
}

// A few bytes into an empty buffer always fit.
bool say_hello(const Socket& socket, const MeetingPlan& plan) {
  const Hello hello{plan.secret, plan.self.value()};
  return ::send(socket.get(), &hello, sizeof hello, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof hello);
}

// A connection whose other end has not yet said who it is.
struct Guest {
  Socket socket;
  std::array<std::byte, sizeof(Hello)> said{};
  std::size_t bytes = 0;
};

enum class Heard : std::uint8_t { kNotYet, kRubbish, kRank };

struct Introduction {
  Heard heard = Heard::kNotYet;
  RankId rank;
};

Introduction listen_to(Guest& guest, const MeetingPlan& plan) {
  const ssize_t got = ::recv(guest.socket.get(), guest.said.data() + guest.bytes, guest.said.size() - guest.bytes, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (got <= 0) return {Heard::kRubbish, {}};
  guest.bytes += static_cast<std::size_t>(got);
  // Not a byte is waited for that could not follow.
  const std::size_t comparable = std::min(guest.bytes, plan.secret.size());
  if (!std::equal(guest.said.begin(), guest.said.begin() + static_cast<std::ptrdiff_t>(comparable),
                  plan.secret.begin()))
    return {Heard::kRubbish, {}};
  if (guest.bytes < sizeof(Hello)) return {};
  Hello hello;
  std::memcpy(&hello, guest.said.data(), sizeof hello);
  return {Heard::kRank, RankId(hello.rank)};
}

class RanksMeeting {
 public:
  RanksMeeting(const MeetingPlan& plan, const Socket& listener, const Clock& clock)
      : plan_(plan), listener_(listener), clock_(clock), end_(clock() + plan.patience), met_(plan.ports.size()) {}

  Result<std::vector<Socket>> run() {
    for (int rank = 0; rank < plan_.self.value(); ++rank) MOESIM_TRY(call(RankId(rank)));
    while (missing().valid()) {
      if (clock_() > end_)
        return fail(ErrorKind::kInternal, fmt::format("rank {} waited {} s for rank {}, which did not come",
                                                      plan_.self.value(), plan_.patience.value(), missing().value()));
      MOESIM_TRY(look());
    }
    return std::move(met_);
  }

 private:
  [[nodiscard]] RankId missing() const {
    for (std::size_t rank = 0; rank < met_.size(); ++rank)
      if (rank != plan_.self.index() && !met_[rank].is_open()) return RankId(static_cast<std::int32_t>(rank));
    return {};
  }

  // The listener is there before any rank is, so this does not have to be tried again.
  Status call(RankId rank) {
    Guest guest{Socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), {}, 0};
    if (!guest.socket.is_open()) return socket_failure("opening a socket");
    const std::uint16_t port = plan_.ports[rank.index()];
    const sockaddr_in address = local_address(port);
    const std::string doing = fmt::format("rank {} calling rank {} on port {}", plan_.self.value(), rank.value(), port);
    if (::connect(guest.socket.get(), general(address), sizeof address) != 0) return socket_failure(doing);
    make_quick(guest.socket);
    if (!say_hello(guest.socket, plan_)) return socket_failure(doing);
    while (true) {
      pollfd ready{guest.socket.get(), POLLIN, 0};
      if (::poll(&ready, 1, kLookEveryMilliseconds) > 0) {
        const Introduction who = listen_to(guest, plan_);
        if (who.heard == Heard::kRank && who.rank == rank) break;
        if (who.heard != Heard::kNotYet)
          return fail(ErrorKind::kInternal, fmt::format("{}: somebody else listens there, or it has ended", doing));
      }
      if (clock_() > end_) return fail(ErrorKind::kInternal, fmt::format("{}: no answer", doing));
    }
    met_[rank.index()] = std::move(guest.socket);
    return {};
  }

  // Lets callers in, and hears what those have to say that are in.
  Status look() {
    std::vector<pollfd> ready = {{listener_.get(), POLLIN, 0}};
    for (const Guest& guest : guests_) ready.push_back({guest.socket.get(), POLLIN, 0});
    if (::poll(ready.data(), ready.size(), kLookEveryMilliseconds) < 0 && errno != EINTR)
      return socket_failure("waiting for other ranks");
    for (std::size_t i = guests_.size(); i-- > 0;)
      if (ready[i + 1].revents != 0) hear(i);
    if (ready[0].revents == 0) return {};
    Guest guest{Socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)), {}, 0};
    if (guest.socket.is_open()) guests_.push_back(std::move(guest));
    return {};
  }

  void hear(std::size_t index) {
    Guest& guest = guests_[index];
    const Introduction who = listen_to(guest, plan_);
    if (who.heard == Heard::kNotYet) return;
    const bool expected = who.heard == Heard::kRank && who.rank > plan_.self &&
                          who.rank.value() < static_cast<std::int32_t>(met_.size()) &&
                          !met_[who.rank.index()].is_open();
    if (expected && say_hello(guest.socket, plan_)) {
      make_quick(guest.socket);
      met_[who.rank.index()] = std::move(guest.socket);
    }
    guests_.erase(guests_.begin() + static_cast<std::ptrdiff_t>(index));
  }

  const MeetingPlan& plan_;
  const Socket& listener_;
  const Clock& clock_;
  Seconds end_;
  std::vector<Socket> met_;
  std::vector<Guest> guests_;
};

}  // namespace

Socket::Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}
Socket::~Socket() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<MeetingPoint> open_meeting_point() {
  MeetingPoint point{Socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)), 0};
  if (!point.listener.is_open()) return socket_failure("opening a socket");
  sockaddr_in address = local_address(0);
  socklen_t size = sizeof address;
  if (::bind(point.listener.get(), general(address), size) != 0 ||
      ::listen(point.listener.get(), kCallsKeptWaiting) != 0 ||
      ::getsockname(point.listener.get(), general(address), &size) != 0)
    return socket_failure("listening on 127.0.0.1");
  point.port = ntohs(address.sin_port);
  return point;
}

Result<MeetingSecret> draw_secret() {
  MeetingSecret secret;
  if (::getrandom(secret.data(), secret.size(), 0) != static_cast<ssize_t>(secret.size()))
    return socket_failure("drawing a random number");
  return secret;
}

Result<std::vector<Socket>> meet_ranks(const MeetingPlan& plan, const Socket& listener, const Clock& clock) {
  return RanksMeeting(plan, listener, clock).run();
}

}  // namespace moesim
