// An operation that was started and may not be done yet.
//
// The buffers given at the start belong to the operation until it is done, whether or not its Request is kept: a Request that
// is dropped does not cancel anything. A Request must not be used after its Communicator is gone.
#pragma once

#include <memory>
#include <span>
#include <utility>

#include "base/error.hpp"

namespace moesim {

// What a Communicator implements for Request.
class PendingOperation {
 public:
  PendingOperation() = default;
  PendingOperation(const PendingOperation&) = delete;
  PendingOperation& operator=(const PendingOperation&) = delete;
  virtual ~PendingOperation() = default;
  [[nodiscard]] virtual Result<bool> test() = 0;
  [[nodiscard]] virtual Status wait() = 0;
};

class Request {
 public:
  Request() = default;  // done
  explicit Request(std::shared_ptr<PendingOperation> operation) : operation_(std::move(operation)) {}

  // Drives everything in flight once; true: this operation is done.
  [[nodiscard]] Result<bool> test() { return operation_ ? operation_->test() : Result<bool>(true); }
  // Drives everything in flight until this operation is done; gives the core away while nothing moves.
  [[nodiscard]] Status wait() { return operation_ ? operation_->wait() : Status{}; }

 private:
  std::shared_ptr<PendingOperation> operation_;
};

[[nodiscard]] inline Status wait_all(std::span<Request> requests) {
  for (Request& request : requests) MOESIM_TRY(request.wait());
  return {};
}

}  // namespace moesim
