// Device memory that is freed with its last owner, filled with harmless numbers.
#pragma once

#include <memory>
#include <vector>

#include "exec/bench/planned_case.hpp"
#include "exec/compute/matrix_view.hpp"

namespace moesim {

using DeviceMemory = std::shared_ptr<void>;

// Numbers in [-1, 1) of the given type; every page is written, so that none is the shared page of zeros.
[[nodiscard]] Result<DeviceMemory> numbers(BenchContext& context, std::int64_t elements, DType type);
[[nodiscard]] Result<DeviceMemory> indices(BenchContext& context, const std::vector<std::int32_t>& values);

struct DeviceMatrixBuffer {
  DeviceMemory memory;
  MatrixView view;
};
[[nodiscard]] Result<DeviceMatrixBuffer> matrix(BenchContext& context, std::int64_t rows, std::int64_t columns,
                                                DType type);

}  // namespace moesim
