// Times our communicator between the processes of mpirun: comm_probe message|exchange BYTES REPEATS
//   message   half a round trip of BYTES between ranks 0 and 1, by the clock of rank 0
//   exchange  all-to-all of BYTES per rank over all ranks, the slowest rank's time
// Rank 0 prints the median in microseconds.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "exec/comm/mpi.hpp"

namespace moesim {
namespace {

Seconds now() {
  return Seconds(std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count());
}

struct Probe {
  Communicator& comm;
  CommGroup group;
  std::vector<std::byte> out;
  std::vector<std::byte> in;
};

Status pass_to_and_fro(Probe& probe) {
  const Channel channel(0);
  const RankId self = probe.comm.rank();
  if (self.value() > 1) return {};
  const RankId other(1 - self.value());
  if (self == RankId(0)) {
    MOESIM_TRY(probe.comm.send(other, channel, probe.out).wait());
    return probe.comm.receive(other, channel, probe.in).wait();
  }
  MOESIM_TRY(probe.comm.receive(other, channel, probe.in).wait());
  return probe.comm.send(other, channel, probe.out).wait();
}

Status exchange(Probe& probe) {
  const auto n = static_cast<std::int64_t>(probe.comm.size());
  const std::vector<std::int64_t> bytes(static_cast<std::size_t>(n), static_cast<std::int64_t>(probe.out.size()) / n);
  return probe.comm.all_to_all_v(probe.group, Channel(0), {probe.out, bytes, probe.in, bytes}).wait();
}

Result<double> median_us(Probe& probe, bool message, int repeats) {
  std::vector<double> times;
  for (int i = 0; i <= repeats; ++i) {  // the first opens the connections
    MOESIM_TRY(probe.comm.barrier(probe.group, Channel(1)).wait());
    const Seconds start = now();
    MOESIM_TRY(message ? pass_to_and_fro(probe) : exchange(probe));
    auto spent = static_cast<float>((now() - start).value() * (message ? 0.5e6 : 1e6));
    if (message && probe.comm.rank() != RankId(0)) spent = 0;  // it began when it left the barrier, not with rank 0
    MOESIM_TRY(probe.comm
                   .all_reduce(probe.group, Channel(1), {DType::kFp32, ReduceKind::kMax},
                               std::as_writable_bytes(std::span(&spent, 1)))
                   .wait());
    if (i > 0) times.push_back(spent);
  }
  std::ranges::nth_element(times, times.begin() + repeats / 2);
  return times[static_cast<std::size_t>(repeats / 2)];
}

int run(int argc, char** argv) {
  const char* size = std::getenv("OMPI_COMM_WORLD_SIZE");
  const std::string_view mode = argc > 1 ? argv[1] : "";
  const int bytes = argc > 2 ? std::atoi(argv[2]) : 0;
  const int repeats = argc > 3 ? std::atoi(argv[3]) : 0;
  if ((mode != "message" && mode != "exchange") || bytes < 1 || repeats < 1) {
    fmt::print(stderr, "usage: comm_probe message|exchange BYTES REPEATS\n");
    return 2;
  }
  auto comm = join_mpi_world(size ? std::atoi(size) : 1, {.clock = now, .deadline = Seconds(20)});
  if (!comm) {
    fmt::print(stderr, "comm_probe: {}\n", comm.error().what);
    return 1;
  }
  std::vector<RankId> everyone;
  for (int rank = 0; rank < (*comm)->size(); ++rank) everyone.emplace_back(rank);
  const std::vector<std::byte> buffer(static_cast<std::size_t>(bytes / (*comm)->size() * (*comm)->size()));
  Probe probe{**comm, (*comm)->group(everyone).value(), buffer, buffer};
  const Result<double> median = median_us(probe, mode == "message", repeats);
  if (!median) {
    fmt::print(stderr, "comm_probe: {}\n", median.error().what);
    (*comm)->abort_all(median.error().what);
    return 1;
  }
  if ((*comm)->rank() == RankId(0)) fmt::print("{:.1f}\n", *median);
  return 0;
}

}  // namespace
}  // namespace moesim

int main(int argc, char** argv) { return moesim::run(argc, argv); }
