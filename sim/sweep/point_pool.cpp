#include "sim/sweep/point_pool.hpp"

#include <fmt/format.h>

#include <exception>
#include <new>
#include <utility>

namespace moesim {

PointPool::PointPool(const SweepEvaluator& evaluator, int threads) : evaluator_(evaluator) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this](const std::stop_token& stop) { work(stop); });
}

PointPool::~PointPool() {
  for (std::jthread& thread : threads_) thread.request_stop();
}

void PointPool::add(std::int64_t point) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back(point);
  changed_.notify_one();
}

void PointPool::drop_waiting() {
  const std::lock_guard lock(mutex_);
  waiting_.clear();
}

std::int64_t PointPool::outstanding() const {
  const std::lock_guard lock(mutex_);
  return working_ + static_cast<std::int64_t>(waiting_.size() + finished_.size());
}

Result<std::vector<FinishedRow>> PointPool::take(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  done_.wait_for(lock, patience, [this] { return !finished_.empty() || failure_; });
  if (failure_) return tl::unexpected(*failure_);
  return std::exchange(finished_, {});
}

void PointPool::work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return !waiting_.empty(); }) && !stop.stop_requested()) {
    const std::int64_t point = waiting_.front();
    waiting_.pop_front();
    ++working_;
    lock.unlock();
    FinishedRow row{point, {}};
    std::optional<Error> failure;
    try {
      row.line = row_to_json(evaluator_.evaluate(point));
    } catch (const std::bad_alloc&) {
      failure = {ErrorKind::kInternal, fmt::format("out of memory at point {}", point), {}, "use fewer --jobs"};
    } catch (const std::exception& thrown) {
      failure = {ErrorKind::kInternal, fmt::format("point {}: {}", point, thrown.what()), {}, {}};
    }
    lock.lock();
    --working_;
    if (failure)
      failure_ = std::move(failure);
    else
      finished_.push_back(std::move(row));
    done_.notify_one();
  }
}

}  // namespace moesim
