// "Please finish": asked by long loops between two pieces of work, set by a signal handler, a button or a time limit.
//
// A loop that sees it returns what it has finished, marked as partial; it does not throw the work away. A default token
// never asks anything. std::stop_token would do, but its source takes a lock, which a signal handler must not.
#pragma once

#include <atomic>

namespace moesim {

class StopToken {
 public:
  constexpr StopToken() = default;
  // `flag` must outlive the token.
  explicit constexpr StopToken(const std::atomic<bool>& flag) : flag_(&flag) {}
  [[nodiscard]] bool stop_requested() const { return flag_ != nullptr && flag_->load(std::memory_order_relaxed); }

  // For interfaces that poll the flag itself; null where nothing will ever ask.
  [[nodiscard]] const std::atomic<bool>* flag() const { return flag_; }

 private:
  const std::atomic<bool>* flag_ = nullptr;
};

}  // namespace moesim
