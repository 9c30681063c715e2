// The functions of cuBLAS that are called, as plain loops on the emulated streams.
#pragma once

#include "exec/cuda/cublas_library.hpp"

namespace moesim::emulation {

[[nodiscard]] CublasApi emulated_cublas();

}  // namespace moesim::emulation
