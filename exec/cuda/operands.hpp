// Views of the compute interface as operands of the GPU kernels.
#pragma once

#include <optional>

#include "exec/compute/matrix_view.hpp"
#include "exec/cuda/kernels/operand.hpp"

namespace moesim {

[[nodiscard]] inline gpu::Operand operand(const MatrixView& view) {
  return {view.data, view.type == DType::kBf16 ? gpu::Element::kBf16 : gpu::Element::kFp32, view.rows, view.columns,
          view.row_stride};
}
[[nodiscard]] inline gpu::Operand operand(const std::optional<MatrixView>& view) {
  return view ? operand(*view) : gpu::Operand();
}

}  // namespace moesim
