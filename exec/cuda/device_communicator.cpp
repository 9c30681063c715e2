#include "exec/cuda/device_communicator.hpp"

#include <algorithm>
#include <thread>

namespace moesim {

class DeviceCommunicator::Operation final : public PendingOperation {
 public:
  Operation(DeviceCommunicator& owner, std::unique_ptr<DeviceSteps> steps) : owner_(owner), steps_(std::move(steps)) {}

  [[nodiscard]] bool done() const { return steps_ == nullptr; }
  void drop() { steps_.reset(); }
  [[nodiscard]] Result<bool> advance() {
    MOESIM_ASSIGN(const bool finished, steps_->advance());
    if (finished) steps_.reset();  // with its buffers
    return finished;
  }
  [[nodiscard]] Result<bool> test() override {
    if (done()) return true;
    MOESIM_TRY(owner_.progress());
    return done();
  }
  [[nodiscard]] Status wait() override {
    while (!done()) {
      MOESIM_ASSIGN(const bool moved, owner_.progress());
      if (!moved) std::this_thread::yield();
    }
    return {};
  }

 private:
  DeviceCommunicator& owner_;
  std::unique_ptr<DeviceSteps> steps_;
};

namespace {

class RefusedOperation final : public PendingOperation {
 public:
  explicit RefusedOperation(Error error) : error_(std::move(error)) {}
  [[nodiscard]] Result<bool> test() override { return tl::unexpected(error_); }
  [[nodiscard]] Status wait() override { return tl::unexpected(error_); }

 private:
  Error error_;
};

}  // namespace

Request DeviceCommunicator::start(Result<std::unique_ptr<DeviceSteps>> steps) {
  if (broken_) return Request(std::make_shared<RefusedOperation>(*broken_));
  if (!steps) return Request(std::make_shared<RefusedOperation>(std::move(steps).error()));
  in_flight_.push_back(std::make_shared<Operation>(*this, std::move(*steps)));
  return Request(in_flight_.back());
}

void DeviceCommunicator::drop_all() {
  for (const std::shared_ptr<Operation>& operation : in_flight_) operation->drop();
  in_flight_.clear();
}

Result<bool> DeviceCommunicator::progress() {
  if (broken_) return tl::unexpected(*broken_);
  MOESIM_ASSIGN(bool moved, host_.progress());
  for (const std::shared_ptr<Operation>& operation : in_flight_) {
    Result<bool> finished = operation->advance();
    if (!finished) {
      broken_ = finished.error();
      return finished;
    }
    moved = moved || *finished;
  }
  std::erase_if(in_flight_, [](const auto& operation) { return operation->done(); });
  return moved;
}

}  // namespace moesim
