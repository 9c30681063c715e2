// Whether the operands of a kernel fit together. The first thing that is wrong is kept, with the names of kernel and operand:
//   MOESIM_TRY(Checks("norm").matrix("x", x, rows, columns).matrix("y", y, rows, columns).status());
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "exec/compute/matrix_view.hpp"

namespace moesim {

class Checks {
 public:
  explicit Checks(std::string_view kernel) : kernel_(kernel) {}

  // FP32 or BF16 of this shape, with memory behind it unless it is empty; an absent one is right.
  Checks& matrix(std::string_view name, const std::optional<MatrixView>& view, std::int64_t rows, std::int64_t columns);
  Checks& fp32(std::string_view name, const std::optional<MatrixView>& view, std::int64_t rows, std::int64_t columns);
  Checks& fp8(std::string_view name, const MatrixView& view, std::int64_t rows, std::int64_t columns);
  Checks& index(std::string_view name, const IndexView& view, std::int64_t count);
  Checks& same_type(std::string_view name, const MatrixView& view, const MatrixView& other);
  Checks& holds(bool condition, std::string_view message);
  [[nodiscard]] Status status() const;

 private:
  void fault(std::string text);
  void shape(std::string_view name, const MatrixView& m, std::int64_t rows, std::int64_t columns);

  std::string_view kernel_;
  std::string fault_;
};

}  // namespace moesim
