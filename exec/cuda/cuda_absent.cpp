// Stands in for rank_device.cpp where no CUDA was found.
#include "exec/cuda/rank_device.hpp"

namespace moesim {
namespace {

tl::unexpected<Error> absent() {
  return fail(ErrorKind::kNoDevice, "no usable GPU: this program was built without CUDA", {},
              "build it where nvcc is on the PATH, or leave --backend cuda out");
}

}  // namespace

Status check_cuda(const DeviceChoice&) { return absent(); }

Result<std::unique_ptr<RankDevice>> open_cuda(const DeviceChoice&, Communicator&, const CommOptions&) {
  return absent();
}

}  // namespace moesim
