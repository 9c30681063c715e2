// NCCL as programs see it; without its header where it was not there when this was built.
#pragma once

#include <memory>

#include "exec/comm/communicator.hpp"
#include "exec/cuda/cuda_backend.hpp"

namespace moesim {

// Whether the library can be loaded.
[[nodiscard]] Status check_nccl();

// Both must outlive it. See nccl_communicator.hpp.
[[nodiscard]] Result<std::unique_ptr<Communicator>> make_nccl_communicator(CudaBackend& backend, Communicator& host,
                                                                           const CommOptions& options);

}  // namespace moesim
