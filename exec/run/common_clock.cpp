#include "exec/run/common_clock.hpp"

#include <cstddef>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

namespace moesim {
namespace {

constexpr int kRoundTrips = 8;
constexpr RankId kFirst(0);

template <class T>
std::span<std::byte> bytes_of_value(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

// The first rank of each machine.
std::vector<RankId> speakers(const Communicator& comm) {
  std::vector<RankId> first;
  std::vector<std::string_view> known;
  for (int r = 0; r < comm.size(); ++r) {
    const std::string_view host = comm.host_of(RankId(r));
    bool seen = false;
    for (const std::string_view each : known) seen = seen || each == host;
    if (seen) continue;
    known.push_back(host);
    first.emplace_back(r);
  }
  return first;
}

Status answer(Communicator& comm, Channel channel, const Clock& clock, RankId speaker) {
  for (int trip = 0; trip < kRoundTrips; ++trip) {
    double question = 0;
    MOESIM_TRY(comm.receive(speaker, channel, bytes_of_value(question)).wait());
    double now = clock().value();
    MOESIM_TRY(comm.send(speaker, channel, bytes_of_value(now)).wait());
  }
  return {};
}

Result<double> ask(Communicator& comm, Channel channel, const Clock& clock) {
  double quickest = std::numeric_limits<double>::max();
  double difference = 0;
  for (int trip = 0; trip < kRoundTrips; ++trip) {
    double question = clock().value();
    const double asked = question;
    double there = 0;
    Request reply = comm.receive(kFirst, channel, bytes_of_value(there));
    MOESIM_TRY(comm.send(kFirst, channel, bytes_of_value(question)).wait());
    MOESIM_TRY(reply.wait());
    const double answered = clock().value();
    if (answered - asked >= quickest) continue;
    quickest = answered - asked;
    difference = there - (asked + answered) / 2;
  }
  return difference;
}

}  // namespace

Result<Seconds> difference_to_first_clock(Communicator& comm, Channel channel, const Clock& clock) {
  const std::vector<RankId> machines = speakers(comm);
  if (machines.size() < 2) return Seconds(0);
  double mine = 0;
  for (const RankId speaker : machines) {
    if (speaker == kFirst) continue;
    if (comm.rank() == kFirst) {
      MOESIM_TRY(answer(comm, channel, clock, speaker));
    } else if (comm.rank() == speaker) {
      MOESIM_ASSIGN(mine, ask(comm, channel, clock));
    }
  }
  std::vector<double> all(static_cast<std::size_t>(comm.size()));
  MOESIM_ASSIGN(const CommGroup group, everyone(comm));
  MOESIM_TRY(comm.all_gather(group, channel, bytes_of_value(mine), std::as_writable_bytes(std::span(all))).wait());
  for (const RankId speaker : machines)
    if (comm.host_of(speaker) == comm.host_of(comm.rank())) return Seconds(all[speaker.index()]);
  return Seconds(0);
}

}  // namespace moesim
