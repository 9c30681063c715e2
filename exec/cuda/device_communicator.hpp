// What the communicators for device memory have in common: operations on host memory go to a communicator for it; those on
// memory of the backend are made of steps that the device takes beside the caller, and are looked after by progress().
//
// An operation on device memory begins when what stands on the backend's exchange stream at its start has been done. Its two
// buffers are both device memory or both host memory.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "exec/comm/communicator.hpp"
#include "exec/cuda/cuda_backend.hpp"

namespace moesim {

// The steps of an operation that are left.
class DeviceSteps {
 public:
  DeviceSteps() = default;
  DeviceSteps(const DeviceSteps&) = delete;
  DeviceSteps& operator=(const DeviceSteps&) = delete;
  virtual ~DeviceSteps() = default;
  // Takes those that can be taken now; true: all have been. Not called after that, nor after an error.
  [[nodiscard]] virtual Result<bool> advance() = 0;
};

class DeviceCommunicator : public Communicator {
 public:
  // Both must outlive this; `host` is used by nobody else meanwhile.
  DeviceCommunicator(CudaBackend& backend, Communicator& host) : backend_(backend), host_(host) {}

  [[nodiscard]] RankId rank() const override { return host_.rank(); }
  [[nodiscard]] int size() const override { return host_.size(); }
  [[nodiscard]] std::string_view host_of(RankId rank) const override { return host_.host_of(rank); }
  [[nodiscard]] Result<CommGroup> group(std::vector<RankId> members) override {
    return host_.group(std::move(members));
  }
  [[nodiscard]] Request barrier(const CommGroup& group, Channel channel) override {
    return host_.barrier(group, channel);
  }
  // Operations advance in the order of their starts: a channel's must begin in it.
  [[nodiscard]] Result<bool> progress() override;
  void rest(Seconds waited) override { host_.rest(waited); }
  void abort_all(std::string_view reason) override { host_.abort_all(reason); }

 protected:
  [[nodiscard]] Request start(Result<std::unique_ptr<DeviceSteps>> steps);
  [[nodiscard]] bool anything_in_flight() const { return !in_flight_.empty(); }
  // Forgets what is under way, with its buffers; before what it uses is gone.
  void drop_all();
  [[nodiscard]] CudaBackend& backend() const { return backend_; }
  [[nodiscard]] Communicator& host() const { return host_; }
  [[nodiscard]] bool on_device(std::span<const std::byte> bytes) const { return backend_.owns(bytes.data()); }

 private:
  class Operation;

  CudaBackend& backend_;
  Communicator& host_;
  std::vector<std::shared_ptr<Operation>> in_flight_;
  std::optional<Error> broken_;
};

}  // namespace moesim
