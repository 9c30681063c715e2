// Worlds of threads as the tests want them.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "exec/comm/local_world.hpp"

namespace moesim {

inline Clock real_clock() {
  return [] {
    return Seconds(std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count());
  };
}

inline LocalWorld local_world(int ranks, Seconds deadline = Seconds(60)) {
  return {.hosts = std::vector<std::string>(static_cast<std::size_t>(ranks), "here"),
          .comm = {.clock = real_clock(), .deadline = deadline}};
}

inline std::vector<RankId> all_ranks(const Communicator& comm) {
  std::vector<RankId> ranks;
  for (int rank = 0; rank < comm.size(); ++rank) ranks.emplace_back(rank);
  return ranks;
}

inline std::span<std::byte> bytes_of(std::vector<float>& values) { return std::as_writable_bytes(std::span(values)); }

}  // namespace moesim
