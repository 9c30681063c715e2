#include "exec/comm/forked_ranks.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>
#include <utility>

#include "exec/comm/host_communicator.hpp"
#include "exec/comm/meeting.hpp"

namespace moesim {
namespace {

constexpr Seconds kMeetingPatience(10);
constexpr std::chrono::milliseconds kLook(10);
constexpr int kLooksBeforeTheEnd = 500;  // five seconds

void await_or_end(pid_t process) {
  for (int look = 0; look < kLooksBeforeTheEnd; ++look) {
    const pid_t ended = ::waitpid(process, nullptr, WNOHANG);
    if (ended == process || (ended < 0 && errno != EINTR)) return;
    std::this_thread::sleep_for(kLook);
  }
  ::kill(process, SIGKILL);
  ::waitpid(process, nullptr, 0);
}

}  // namespace

Result<ForkedRanks> ForkedRanks::start(int ranks, const CommOptions& options, EndProcess end_process) {
  MeetingPlan plan{.self = RankId(0), .ports = {}, .patience = kMeetingPatience};
  MOESIM_ASSIGN(plan.secret, draw_secret());
  std::vector<MeetingPoint> points;
  for (int rank = 0; rank < ranks; ++rank) {
    MOESIM_ASSIGN(MeetingPoint point, open_meeting_point());
    plan.ports.push_back(point.port);
    points.push_back(std::move(point));
  }
  // What is in a buffer now would be written by each.
  std::fflush(nullptr);
  const pid_t first = ::getpid();
  ForkedRanks forked;
  for (int rank = 1; rank < ranks; ++rank) {
    const pid_t process = ::fork();
    if (process < 0)
      return fail(ErrorKind::kInternal, fmt::format("starting the process of rank {}: {}", rank, std::strerror(errno)));
    if (process > 0) {
      forked.others_.push_back(process);
      continue;
    }
    forked.others_.clear();
    plan.self = RankId(rank);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (::getppid() != first) return fail(ErrorKind::kInternal, "rank 0 has ended");
    break;
  }
  const Socket listener = std::move(points[plan.self.index()].listener);
  points.clear();
  MOESIM_ASSIGN(std::vector<Socket> connections, meet_ranks(plan, listener, options.clock));
  auto transport = std::make_unique<SocketTransport>(plan.self, std::move(connections), std::move(end_process));
  MOESIM_ASSIGN(forked.comm_, HostCommunicator::make(std::move(transport), options));
  return forked;
}

ForkedRanks::~ForkedRanks() {
  const bool goes_well = comm_ != nullptr;
  comm_.reset();
  for (const pid_t process : others_) {
    if (!goes_well) ::kill(process, SIGKILL);
    await_or_end(process);
  }
}

}  // namespace moesim
