// One rank of a test under mpirun: comm_ranks MODE [ALGORITHM], of the exchanges of the matrix, linear
//   matrix    the collectives, exchanges and messages of the unit tests, and one larger than a transfer's piece
//   endless   all-reduces until somebody stops it; rank 0 says "running" first
//   absent    rank 1 stays away from a collective; the deadline is 1 s
//   mismatch  rank 1 starts another operation than the others
//   dropped   rank 1 ends with an operation unfinished
// Errors go to stderr, one line from each rank that sees one, and end all ranks.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <vector>

#include "../unit/exec/comm/collective_matrix.hpp"
#include "exec/comm/mpi.hpp"

namespace moesim {
namespace {

constexpr Channel kChannel(1);
constexpr Reduction kSum{DType::kFp32, ReduceKind::kSum};

Status check_large(Communicator& comm, const CommGroup& group) {
  // 40 MiB go in three pieces.
  const std::size_t each = std::size_t{40} << 20;
  std::vector<std::byte> mine(each), all(each * static_cast<std::size_t>(comm.size()));
  const auto pattern = [](std::size_t rank, std::size_t i) {
    return static_cast<std::byte>((i >> 12) * 31 + i + rank);
  };
  for (std::size_t i = 0; i < each; ++i) mine[i] = pattern(comm.rank().index(), i);
  MOESIM_TRY(comm.all_gather(group, kChannel, mine, all).wait());
  for (std::size_t rank = 0; rank < static_cast<std::size_t>(comm.size()); ++rank)
    for (std::size_t i = 0; i < each; ++i)
      if (all[rank * each + i] != pattern(rank, i))
        return fail(ErrorKind::kInternal, fmt::format("byte {} of rank {} is wrong", i, rank));
  return {};
}

Status run_mode(std::string_view mode, ExchangeAlgorithm algorithm, Communicator& comm) {
  std::vector<RankId> everyone;
  for (int rank = 0; rank < comm.size(); ++rank) everyone.emplace_back(rank);
  MOESIM_ASSIGN(const CommGroup group, comm.group(everyone));
  std::vector<float> data(std::size_t{1} << 18);
  const auto bytes = std::as_writable_bytes(std::span(data));
  const bool odd_one = comm.rank() == RankId(1);

  if (mode == "matrix") {
    MOESIM_TRY(check_collectives(comm));
    MOESIM_TRY(check_exchanges(comm, algorithm));
    MOESIM_TRY(check_messages(comm));
    return check_large(comm, group);
  }
  if (mode == "absent") {
    if (odd_one) std::this_thread::sleep_for(std::chrono::seconds(60));
    return comm.barrier(group, kChannel).wait();
  }
  if (mode == "mismatch")
    return odd_one ? comm.broadcast(group, kChannel, RankId(0), bytes).wait()
                   : comm.all_reduce(group, kChannel, kSum, bytes).wait();
  if (mode == "dropped") {
    Request request = comm.all_reduce(group, kChannel, kSum, bytes);
    return odd_one ? Status{} : request.wait();
  }
  if (mode != "endless") return usage_error(fmt::format("unknown mode {}", mode));
  if (comm.rank() == RankId(0)) {
    fmt::print("running\n");
    std::fflush(stdout);
  }
  for (;;) MOESIM_TRY(comm.all_reduce(group, kChannel, kSum, bytes).wait());
}

int run(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  const char* size = std::getenv("OMPI_COMM_WORLD_SIZE");
  CommOptions options{.clock = [] {
    return Seconds(std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count());
  }};
  if (mode == "absent") options.deadline = Seconds(1);
  const auto algorithm = find_exchange_algorithm(argc > 2 ? argv[2] : "linear");
  if (!algorithm) {
    fmt::print(stderr, "comm_ranks: {}\n", algorithm.error().what);
    return 1;
  }
  auto comm = join_mpi_world(size ? std::atoi(size) : 1, std::move(options));
  if (!comm) {
    fmt::print(stderr, "comm_ranks: {}\n", comm.error().what);
    return 1;
  }
  const Status status = run_mode(mode, *algorithm, **comm);
  if (status) return 0;
  fmt::print(stderr, "comm_ranks: rank {}: {}\n", (*comm)->rank().value(), status.error().what);
  (*comm)->abort_all(status.error().what);
  return 1;
}

}  // namespace
}  // namespace moesim

int main(int argc, char** argv) { return moesim::run(argc, argv); }
