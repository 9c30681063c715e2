// Runs independent jobs on a few threads. Which thread takes which job is left open, so jobs write only to their own slot.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

namespace moesim {

template <class Job>
void parallel_for(std::size_t count, int threads, const Job& job) {
  const auto workers = static_cast<std::size_t>(
      std::clamp<std::ptrdiff_t>(threads, 1, static_cast<std::ptrdiff_t>(std::max<std::size_t>(count, 1))));
  if (workers == 1) {
    for (std::size_t i = 0; i < count; ++i) job(i);
    return;
  }
  std::atomic<std::size_t> next{0};
  std::vector<std::jthread> pool;
  for (std::size_t w = 0; w < workers; ++w)
    pool.emplace_back([&] {
      for (std::size_t i = next++; i < count; i = next++) job(i);
    });
}

}  // namespace moesim
