// Threads that evaluate points. The thread that owns the pool adds points and takes rows.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "sim/sweep/evaluator.hpp"
#include "sim/sweep/journal.hpp"

namespace moesim {

class PointPool {
 public:
  // `evaluator` must outlive the pool.
  PointPool(const SweepEvaluator& evaluator, int threads);
  PointPool(const PointPool&) = delete;
  PointPool& operator=(const PointPool&) = delete;
  ~PointPool();  // waits for the points being worked on, forgets the others

  [[nodiscard]] int threads() const { return static_cast<int>(threads_.size()); }
  void add(std::int64_t point);
  // Forgets the points that no thread has begun.
  void drop_waiting();
  // Added and neither taken nor dropped.
  [[nodiscard]] std::int64_t outstanding() const;
  // The rows finished by now; waits up to `patience` for the first one. An error when an evaluation threw (out of memory).
  [[nodiscard]] Result<std::vector<FinishedRow>> take(std::chrono::milliseconds patience);

 private:
  void work(const std::stop_token& stop);

  const SweepEvaluator& evaluator_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;  // for the threads: a point, or the end
  std::condition_variable done_;         // for the owner: a row, or a failure
  std::deque<std::int64_t> waiting_;
  std::int64_t working_ = 0;
  std::vector<FinishedRow> finished_;
  std::optional<Error> failure_;
  std::vector<std::jthread> threads_;  // last: they use all of the above
};

}  // namespace moesim
