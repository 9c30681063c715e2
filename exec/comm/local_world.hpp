// A world of ranks that are threads: what needs several ranks can be tested without MPI.
//
//   auto sums = run_local_world<float>({.hosts = std::vector<std::string>(4, "here"), .comm = options},
//                                      [](Communicator& comm) -> Result<float> { ... });
//   sums[2] is what rank 2 returned.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "exec/comm/communicator.hpp"

namespace moesim {

struct LocalWorld {
  std::vector<std::string> hosts;  // one rank for each; the same name: the same host
  CommOptions comm;
};

// Runs `rank_main` once for each rank, each in a thread of its own, and returns when all are done. A rank that returns leaves
// the others to themselves: one that fails should call abort_all.
void run_local_ranks(const LocalWorld& world, const std::function<void(Communicator&)>& rank_main);

// The same with a result from each rank.
template <class T, class RankMain>
[[nodiscard]] std::vector<Result<T>> run_local_world(const LocalWorld& world, const RankMain& rank_main) {
  std::vector<Result<T>> results(world.hosts.size(), fail(ErrorKind::kInternal, "the rank did not run"));
  run_local_ranks(world, [&](Communicator& comm) { results[comm.rank().index()] = rank_main(comm); });
  return results;
}

}  // namespace moesim
