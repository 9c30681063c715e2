#include "exec/cli/world.hpp"

#include <fmt/format.h>
#include <sys/prctl.h>

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/file.hpp"
#include "exec/comm/local_world.hpp"
#include "exec/comm/mpi.hpp"
#include "exec/run/training.hpp"
#include "sim/cli/launcher.hpp"
#include "sim/cli/session.hpp"

namespace moesim {
namespace {

constexpr Seconds kNap(200e-6);
constexpr unsigned long kTimerSlackNanoseconds = 1000;

// No exception leaves a rank: in a thread it would end the program without a word.
Status guarded(const std::function<Status(Communicator&)>& rank_main, Communicator& comm) {
  try {
    return rank_main(comm);
  } catch (const std::bad_alloc&) {
    return fail(ErrorKind::kInternal, "out of memory");
  } catch (const std::exception& failure) {
    return fail(ErrorKind::kInternal, failure.what());
  }
}

void end_quietly() { std::_Exit(static_cast<int>(ErrorKind::kInternal)); }

Error error_of_rank(RankId rank, Error error) {
  error.what = fmt::format("rank {}: {}", rank.value(), error.what);
  return error;
}

}  // namespace

Result<World> World::join(std::string program, Seconds timeout) {
  World world(std::move(program), {.clock = steady_clock(), .deadline = timeout});
  if (launcher_yields()) world.take_naps();
  if (const int processes = launched_processes(); processes > 1) {
    MOESIM_ASSIGN(world.launched_, join_mpi_world(processes, world.options_));
    world.comm_ = world.launched_.get();
  }
  return world;
}

Result<World> World::fork(std::string program, Seconds timeout, int processes) {
  if (launched_processes() > 1)
    return usage_error("--processes starts the ranks itself; this process was started by a launcher",
                       "leave --processes out, or start the program without mpirun");
  World world(std::move(program), {.clock = steady_clock(), .deadline = timeout});
  if (processes > static_cast<int>(std::thread::hardware_concurrency())) world.take_naps();
  MOESIM_ASSIGN(ForkedRanks forked, ForkedRanks::start(processes, world.options_, end_quietly));
  world.forked_ = std::make_unique<ForkedRanks>(std::move(forked));
  world.comm_ = &world.forked_->comm();
  return world;
}

void World::take_naps() {
  options_.longest_nap = kNap;
  ::prctl(PR_SET_TIMERSLACK, kTimerSlackNanoseconds, 0, 0, 0);  // or every nap is 50 us longer
}

bool World::is_here(RankId rank) const { return !comm_ || comm_->host_of(rank) == comm_->host_of(comm_->rank()); }

Status World::agree(const Status& mine, std::uint64_t fingerprint) {
  return comm_ ? moesim::agree(*comm_, mine, fingerprint) : mine;
}

Status World::run(int ranks, const std::function<Status(Communicator&)>& rank_main) {
  if (comm_) {
    const Status status = guarded(rank_main, *comm_);
    if (status) return {};
    print_error(program_, error_of_rank(comm_->rank(), status.error()));
    comm_->abort_all(status.error().what);
    return status;
  }
  std::mutex mutex;
  std::optional<Error> first;
  const LocalWorld world{.hosts = std::vector<std::string>(static_cast<std::size_t>(ranks), "here"), .comm = options_};
  run_local_ranks(world, [&](Communicator& comm) {
    const Status status = guarded(rank_main, comm);
    if (status) return;
    {
      const std::lock_guard lock(mutex);
      if (!first) first = error_of_rank(comm.rank(), status.error());
    }
    comm.abort_all(status.error().what);
  });
  if (first) return tl::unexpected(std::move(*first));
  return {};
}

Result<NextStep> agree_to_start(World& world, const Status& ready, std::uint64_t fingerprint) {
  const Status all = world.agree(ready, fingerprint);
  if (all) return NextStep::kGoOn;
  if (!world.leads()) return NextStep::kStop;
  return tl::unexpected(all.error());
}

Clock steady_clock() {
  return [] {
    return Seconds(std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count());
  };
}

Result<Bytes> available_memory() {
  MOESIM_ASSIGN(const std::string text, read_file("/proc/meminfo", 1 << 16));
  constexpr std::string_view kKey = "MemAvailable:";
  const std::size_t place = text.find(kKey);
  std::int64_t kibibytes = 0;
  if (place != std::string::npos) {
    const std::size_t digits = text.find_first_not_of(' ', place + kKey.size());
    if (digits != std::string::npos) std::from_chars(text.data() + digits, text.data() + text.size(), kibibytes);
  }
  if (kibibytes == 0) return fail(ErrorKind::kInternal, "no line says MemAvailable", "/proc/meminfo");
  return Bytes(kibibytes * 1024);
}

}  // namespace moesim
