// Errors of CUDA's runtime as ours.
#pragma once

#include <cuda_runtime_api.h>

#include <string_view>

#include "base/error.hpp"

namespace moesim {

// Of a machine without a GPU, without its driver, with a driver that is too old, or with the toolkit's stub in its place: one
// error, ErrorKind::kNoDevice. Others name `what` was done.
[[nodiscard]] Status cuda_status(cudaError_t code, std::string_view what);

}  // namespace moesim
