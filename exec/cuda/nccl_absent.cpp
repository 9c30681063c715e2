// Stands in for NCCL's sources where its header was not found.
#include "exec/cuda/nccl.hpp"

namespace moesim {

Status check_nccl() {
  return fail(ErrorKind::kNoDevice, "NCCL is missing: this program was built without its header", {},
              "install libnccl-dev, or set NCCL_HOME, and build again");
}

Result<std::unique_ptr<Communicator>> make_nccl_communicator(CudaBackend&, Communicator&, const CommOptions&) {
  return tl::unexpected(check_nccl().error());
}

}  // namespace moesim
