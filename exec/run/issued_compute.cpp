#include "exec/run/issued_compute.hpp"

#include <memory>
#include <thread>

namespace moesim {
namespace {

class EventRequest final : public PendingOperation {
 public:
  EventRequest(ComputeBackend& backend, DeviceEvent event) : backend_(backend), event_(event) {}
  ~EventRequest() override { backend_.destroy_event(event_); }
  [[nodiscard]] Result<bool> test() override { return backend_.reached(event_); }
  [[nodiscard]] Status wait() override {
    while (true) {
      MOESIM_ASSIGN(const bool reached, backend_.reached(event_));
      if (reached) return {};
      std::this_thread::yield();
    }
  }

 private:
  ComputeBackend& backend_;
  DeviceEvent event_;
};

}  // namespace

IssuedCompute::~IssuedCompute() {
  for (const Issued& issued : issued_) {
    backend_.destroy_event(issued.start);
    backend_.destroy_event(issued.end);
  }
  for (const DeviceEvent& free : free_) backend_.destroy_event(free);
  if (zero_.handle != nullptr) backend_.destroy_event(zero_);
}

Result<DeviceEvent> IssuedCompute::event() {
  if (free_.empty()) return backend_.create_event();
  const DeviceEvent reused = free_.back();
  free_.pop_back();
  return reused;
}

Status IssuedCompute::begin_step(DeviceStream stream) {
  if (zero_.handle == nullptr) {
    MOESIM_ASSIGN(zero_, backend_.create_event());
  }
  MOESIM_TRY(backend_.synchronize(stream));
  MOESIM_TRY(backend_.record(zero_, stream));
  MOESIM_TRY(backend_.synchronize(stream));
  zero_time_ = clock_();
  return {};
}

Status IssuedCompute::begin(std::int32_t item, DeviceStream stream) {
  Issued issued{item, {}, {}};
  MOESIM_ASSIGN(issued.start, event());
  MOESIM_ASSIGN(issued.end, event());
  issued_.push_back(issued);
  return backend_.record(issued.start, stream);
}

Status IssuedCompute::end(DeviceStream stream) { return backend_.record(issued_.back().end, stream); }

Result<std::optional<IssuedCompute::Ended>> IssuedCompute::take_ended() {
  if (issued_.empty()) return std::nullopt;
  const Issued oldest = issued_.front();
  MOESIM_ASSIGN(const bool reached, backend_.reached(oldest.end));
  if (!reached) return std::nullopt;
  MOESIM_ASSIGN(const Seconds start, backend_.elapsed(zero_, oldest.start));
  MOESIM_ASSIGN(const Seconds end, backend_.elapsed(zero_, oldest.end));
  issued_.pop_front();
  free_.push_back(oldest.start);
  free_.push_back(oldest.end);
  return Ended{oldest.item, zero_time_ + start, zero_time_ + end};
}

Result<Request> request_behind(ComputeBackend& backend, DeviceStream stream) {
  MOESIM_ASSIGN(const DeviceEvent event, backend.create_event());
  auto operation = std::make_shared<EventRequest>(backend, event);
  MOESIM_TRY(backend.record(event, stream));
  return Request(std::move(operation));
}

Status order_streams(ComputeBackend& backend, DeviceStream first, DeviceStream later) {
  MOESIM_ASSIGN(const DeviceEvent event, backend.create_event());
  Status status = backend.record(event, first);
  if (status) status = backend.wait(later, event);
  backend.destroy_event(event);  // the waiting stream knows the point
  return status;
}

}  // namespace moesim
