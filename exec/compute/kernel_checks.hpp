// Whether the operands of a kernel fit together: the same questions for every backend. The first thing that is wrong comes back
// as an error that names kernel and operand (checks.hpp). Looks at shapes and at host memory, never at device memory.
#pragma once

#include <string_view>

#include "base/error.hpp"
#include "exec/compute/layer_args.hpp"
#include "exec/compute/routing_args.hpp"

namespace moesim {

// The three products of a layer, each over groups of rows: y = x w, gx = gy w^T, gw += x^T gy. `kernel` is the name for errors.
struct GroupedProduct {
  std::string_view kernel;
  std::span<const std::int64_t> group_rows;
};
[[nodiscard]] Status check_forward(const GroupedProduct& product, const MatrixView& x, const MatrixView& w,
                                   const MatrixView& y);
[[nodiscard]] Status check_input_gradient(const GroupedProduct& product, const MatrixView& gy, const MatrixView& w,
                                          const MatrixView& gx);
[[nodiscard]] Status check_weight_gradient(const GroupedProduct& product, const MatrixView& x, const MatrixView& gy,
                                           const MatrixView& gw);

[[nodiscard]] Status check_operands(const NormArgs& args);
[[nodiscard]] Status check_operands(const NormGradArgs& args);
[[nodiscard]] Status check_operands(const RotaryArgs& args);
[[nodiscard]] Status check_operands(const RotaryGradArgs& args);
[[nodiscard]] Status check_operands(const AttentionArgs& args);
[[nodiscard]] Status check_operands(const AttentionGradArgs& args);
[[nodiscard]] Status check_operands(const ActivationArgs& args);
[[nodiscard]] Status check_operands(const ActivationGradArgs& args);
[[nodiscard]] Status check_operands(const EmbeddingArgs& args);
[[nodiscard]] Status check_operands(const EmbeddingGradArgs& args);
[[nodiscard]] Status check_operands(const CrossEntropyArgs& args);
[[nodiscard]] Status check_operands(const CombineLossArgs& args);
[[nodiscard]] Status check_operands(const LossSumArgs& args);
[[nodiscard]] Status check_operands(const CrossEntropyGradArgs& args);
[[nodiscard]] Status check_operands(const AddArgs& args);
[[nodiscard]] Status check_operands(const CastArgs& args);
[[nodiscard]] Status check_operands(const ToFp8Args& args);
[[nodiscard]] Status check_operands(const FromFp8Args& args);
[[nodiscard]] Status check_operands(const ScaleArgs& args);
[[nodiscard]] Status check_operands(const SquareSumArgs& args);
[[nodiscard]] Status check_operands(const AdamWArgs& args);
[[nodiscard]] Status check_operands(const TopKArgs& args);
[[nodiscard]] Status check_operands(const TopKGradArgs& args);
[[nodiscard]] Status check_operands(const BuildRoutingArgs& args);
[[nodiscard]] Status check_operands(const DealRowsArgs& args);
// `rows`: that the map has; where the map is host memory, the sum of its expert_rows.
[[nodiscard]] Status check_operands(const PermuteArgs& args, std::int64_t rows);
[[nodiscard]] Status check_operands(const PermuteGradArgs& args, std::int64_t rows);
[[nodiscard]] Status check_operands(const UnpermuteArgs& args, std::int64_t rows);
[[nodiscard]] Status check_operands(const UnpermuteGradArgs& args, std::int64_t rows);
[[nodiscard]] Status check_operands(const SortRowsArgs& args);
[[nodiscard]] Status check_operands(const MoveRowsArgs& args);

// Columns of an activation's input.
[[nodiscard]] constexpr std::int64_t columns_of_input(ActivationKind kind, std::int64_t columns_of_y) {
  return kind == ActivationKind::kSwiGlu ? 2 * columns_of_y : columns_of_y;
}
inline constexpr std::int64_t kLossStatistics = 3;  // largest logit, sum of exponentials, logit of the label

}  // namespace moesim
