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

// Equal matrices taken in turn, as many as do not stay in a cache together (512 at most). In a step, all other layers have been
// there since a layer's weights were read last, or what its forward pass has saved: those come from memory, and results that are
// kept go there. What has been made a few operations ago (`recent`) is no longer near to the core, but in the last cache. What the
// operation before has just made, one matrix is enough for.
class MatricesInTurn {
 public:
  [[nodiscard]] static Result<MatricesInTurn> make(BenchContext& context, std::int64_t rows, std::int64_t columns,
                                                   DType type);
  [[nodiscard]] static Result<MatricesInTurn> recent(BenchContext& context, std::int64_t rows, std::int64_t columns,
                                                     DType type);
  // As `make`, of these contents; rows one behind the other.
  [[nodiscard]] static Result<MatricesInTurn> copies(BenchContext& context, const MatrixView& first);
  [[nodiscard]] const MatrixView& next() const {
    *turn_ = (*turn_ + 1) % views_.size();
    return views_[*turn_];
  }
  [[nodiscard]] std::size_t size() const { return views_.size(); }

 private:
  [[nodiscard]] static Result<MatricesInTurn> copies_of(BenchContext& context, const MatrixView& first,
                                                        std::int64_t together);

  OwnedMemory memory_;
  std::vector<MatrixView> views_;
  std::shared_ptr<std::size_t> turn_ = std::make_shared<std::size_t>(0);  // copies take turns together
};

}  // namespace moesim
