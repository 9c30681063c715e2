// What a rank has of a GPU: the backend, and a communicator that knows its memory. For programs; says what is missing where the
// program was built without CUDA, or runs without a GPU (ErrorKind::kNoDevice).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "exec/comm/communicator.hpp"
#include "exec/compute/compute_backend.hpp"

namespace moesim {

enum class DeviceTransport : std::uint8_t {
  kNccl,    // GPU to GPU; each rank needs a GPU of its own
  kStaged,  // through pinned host memory and the communicator for it
};

struct DeviceChoice {
  int device = -1;  // -1: the ranks of a machine take its GPUs in turn
  DeviceTransport transport = DeviceTransport::kStaged;
};

class RankDevice {
 public:
  RankDevice() = default;
  RankDevice(const RankDevice&) = delete;
  RankDevice& operator=(const RankDevice&) = delete;
  virtual ~RankDevice() = default;
  [[nodiscard]] virtual ComputeBackend& backend() = 0;
  [[nodiscard]] virtual Communicator& comm() = 0;
  [[nodiscard]] virtual std::string hardware() const = 0;  // "NVIDIA H200, sm_90"
};

// Whether there are the GPU and the libraries that a rank would need; asks without taking anything.
[[nodiscard]] Status check_cuda(const DeviceChoice& choice);

// `host` must outlive the device; `options` are those that it was made with.
[[nodiscard]] Result<std::unique_ptr<RankDevice>> open_cuda(const DeviceChoice& choice, Communicator& host,
                                                            const CommOptions& options);

}  // namespace moesim
