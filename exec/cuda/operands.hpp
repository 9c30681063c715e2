// Views of the compute interface as operands of the GPU kernels.
#pragma once

#include <optional>

#include "exec/compute/matrix_view.hpp"
#include "exec/cuda/kernels/operand.hpp"

namespace moesim {

[[nodiscard]] inline gpu::Operand operand(const MatrixView& view) {
  gpu::Element type = gpu::Element::kFp32;
  if (view.type == DType::kBf16) type = gpu::Element::kBf16;
  if (view.type == DType::kFp8) type = gpu::Element::kFp8;
  return {view.data, type, view.rows, view.columns, view.row_stride};
}
[[nodiscard]] inline gpu::Operand operand(const std::optional<MatrixView>& view) {
  return view ? operand(*view) : gpu::Operand();
}

}  // namespace moesim
