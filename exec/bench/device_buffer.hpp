// Device memory that is freed with its last owner, filled with harmless numbers.
#pragma once

#include <memory>
#include <vector>

#include "exec/bench/planned_case.hpp"
#include "exec/compute/matrix_view.hpp"

namespace moesim {

using OwnedMemory = std::shared_ptr<void>;

// Numbers in [-1, 1) of the given type; every page is written, so that none is the shared page of zeros.
[[nodiscard]] Result<OwnedMemory> numbers(BenchContext& context, std::int64_t elements, DType type);
[[nodiscard]] Result<OwnedMemory> indices(BenchContext& context, const std::vector<std::int32_t>& values);

struct DeviceMatrixBuffer {
  OwnedMemory memory;
  MatrixView view;
};
[[nodiscard]] Result<DeviceMatrixBuffer> matrix(BenchContext& context, std::int64_t rows, std::int64_t columns,
                                                DType type);

// Equal matrices taken in turn, as many as do not stay in a cache together (64 at most): when a layer's turn comes in a step, all
// other layers have been there since its weights were read last.
class MatricesInTurn {
 public:
  [[nodiscard]] static Result<MatricesInTurn> make(BenchContext& context, std::int64_t rows, std::int64_t columns,
                                                   DType type);
  [[nodiscard]] const MatrixView& next() const {
    *turn_ = (*turn_ + 1) % matrices_.size();
    return matrices_[*turn_].view;
  }

 private:
  std::vector<DeviceMatrixBuffer> matrices_;
  std::shared_ptr<std::size_t> turn_ = std::make_shared<std::size_t>(0);  // copies take turns together
};

}  // namespace moesim
