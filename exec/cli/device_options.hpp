// --backend, --device and --device-transport: what the ranks of a run compute and communicate with.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "exec/cuda/rank_device.hpp"
#include "sim/cli/session.hpp"

namespace moesim {

struct DeviceOptions {
  std::string backend = "cpu";
  int device = -1;  // -1: the machine's in turn
  std::string transport = "staged";
};

void add_device_options(CLI::App& command, Session& session, DeviceOptions& options);

// Whether this machine has what the options ask for; every process asks before its ranks begin.
[[nodiscard]] Status check_device(const DeviceOptions& options);

// What one rank works with. `host` must outlive it.
class RankHardware {
 public:
  [[nodiscard]] static Result<RankHardware> open(const DeviceOptions& options, Communicator& host,
                                                 const CommOptions& comm);
  [[nodiscard]] ComputeBackend& backend() const { return device_ ? device_->backend() : *cpu_; }
  [[nodiscard]] Communicator& comm() const { return device_ ? device_->comm() : *host_; }
  [[nodiscard]] std::string hardware() const { return device_ ? device_->hardware() : ""; }  // empty: unknown

 private:
  explicit RankHardware(Communicator& host) : host_(&host) {}
  Communicator* host_;
  std::unique_ptr<ComputeBackend> cpu_;
  std::unique_ptr<RankDevice> device_;
};

}  // namespace moesim
