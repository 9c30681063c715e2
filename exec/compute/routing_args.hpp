// Operands of the kernels that choose experts and move token copies: gate, routing map, permutes, sorts.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "exec/compute/matrix_view.hpp"
#include "models/shape/model_shape.hpp"

namespace moesim {

// How weights come from logits l of one token:
//   kSoftmax        s = softmax(l) over all experts, the k largest; weights s, or with `normalise` s / (sum of the chosen)
//   kSoftmaxOfTopk  the k largest logits; weights their softmax
//   kSigmoid        s = 1 / (1 + e^-l), the k largest; weights as with kSoftmax
// and times `scale`. Of equal scores the lower expert comes first. Logits (1, 1, 0), k = 1, kSoftmax: expert 0, weight
// e / (2 e + 1) = 0.4223; normalised: 1.
//
// With groups (DeepSeek-V2, arXiv 2405.04434, 2.2.2; V3, arXiv 2412.19437, 2.1.2) only experts of the `top_groups` best of
// `groups` runs of experts may be chosen. A group is as good as its best expert, with kSigmoid as the sum of its two best. Forced
// counts (TopKArgs) do not heed groups.
struct GateSettings {
  std::int64_t top_k = 1;
  RouterScore score = RouterScore::kSoftmax;
  bool normalise = false;
  float scale = 1.0F;
  std::int64_t groups = 0;  // 0: no groups
  std::int64_t top_groups = 0;
};

// probabilities: FP32 [tokens, 2 top_k], weights in columns [0, k), expert ids as numbers in [k, 2k), by falling score.
// statistics: FP32 [2, experts], overwritten: how often each expert was chosen, and the sum over the tokens of its share of
// the scores (s, with kSigmoid s / sum of s). Both may be summed over ranks before the gradient reads them.
struct TopKArgs {
  GateSettings gate;
  MatrixView logits;  // [tokens, experts]
  // Not empty: replay. Expert e is chosen by exactly forced_counts[e] of these tokens, at most once by each; host memory.
  // Token by token the best experts that still have places are taken, after those that need every token that is left.
  // The weights are those that the logits give to the experts chosen.
  std::span<const std::int32_t> forced_counts;
  MatrixView probabilities;
  std::optional<MatrixView> statistics;
  // [1, experts]: added to the scores for the choice, of groups too, but not in the weights (DeepSeek-V3's balance without a
  // loss). Scores 0.6 and 0.5 with biases 0 and 0.2: expert 1 with the weight 0.5.
  std::optional<MatrixView> bias = std::nullopt;
};

// Auxiliary loss for even loads (GShard, arXiv 2006.16668, 2.2; Switch, arXiv 2101.03961, eq. 4), with E experts:
//   coefficient * E * sum over e of f_e * P_e,   f_e = chosen_e / (tokens * top_k),   P_e = share_e / tokens.
// Even loads and shares: f = P = 1 / E, so the loss is the coefficient. f is a constant to the gradient.
struct BalanceLoss {
  float coefficient = 0.0F;
  std::int64_t tokens = 0;  // that the statistics were summed over
  MatrixView statistics;    // of TopKArgs, perhaps summed over ranks
};
[[nodiscard]] double balance_loss(float coefficient, std::int64_t tokens, std::int64_t top_k,
                                  std::span<const float> chosen, std::span<const float> shares);

struct TopKGradArgs {
  GateSettings gate;
  MatrixView gp, probabilities, logits;  // of gp the columns [0, k) are read
  std::optional<BalanceLoss> balance;    // its gradient is added
  MatrixView glogits;
};

enum class CapacityPadding : std::uint8_t { kNone, kFull };

// Which row of the permuted matrix holds which copy. Copy c = token * top_k + slot; rows are in the order of experts, within
// one by token. The arrays are device memory of the caller; build_routing fills them. Host code learns the numbers of rows by
// copying expert_rows out.
//
// A rank that has the tokens of others as well may have rows for its own experts only: `experts` of `all_experts`, from
// `first_expert` on. Tokens that chose (2, 0) and (3, 1) of four, experts 2 and 3: copies 0 and 2 have rows 0 and 1.
//
// Where experts do not stand in their own order, `slots` says where each does, and everything else counts slots: with slots
// (1, 0, 2, 3) a copy that chose expert 0 has its row where expert 1 would have had it.
//
// A map of visits has rows for tokens that go once to every part of the experts that they visit, however many experts of it they
// chose (sim/program/visit_table.hpp). Then `chosen` is how many experts of `all_experts` a token chose, parts stand for
// experts, and copy token * parts + part is the token's way to the part: with the choices above and two parts of two slots,
// experts (2, 0) visit both parts and (3, 1) as well; part 0 has rows 0 and 1 for copies 0 and 2, part 1 rows 2 and 3 for 1 and 3.
struct RoutingMap {
  std::int64_t tokens = 0;
  std::int64_t top_k = 1;
  std::int64_t experts = 0;
  std::int64_t capacity = 0;                         // rows an expert takes, the first come; 0: all
  CapacityPadding padding = CapacityPadding::kNone;  // kFull: every expert gets `capacity` rows, the rest of them zeros
  std::int32_t* expert_rows = nullptr;               // [experts]
  std::int32_t* row_of_copy = nullptr;               // [tokens * top_k]; -1: dropped, or for an expert elsewhere
  std::int32_t* copy_of_row = nullptr;               // [most_rows()]; -1: padding
  std::int64_t first_expert = 0;
  std::int64_t all_experts = 0;         // 0: as many as `experts`
  const std::int32_t* slots = nullptr;  // [known_experts()], device memory; nullptr: each in its own
  // Visits: top_k and `experts` are the number of parts, of `part_slots` slots each from first_expert on.
  std::int64_t chosen = 0;  // 0: a map of copies
  std::int64_t part_slots = 0;
  [[nodiscard]] bool of_visits() const { return chosen > 0; }
  [[nodiscard]] std::int64_t choices() const { return of_visits() ? chosen : top_k; }  // of a token
  [[nodiscard]] std::int64_t known_experts() const { return all_experts > 0 ? all_experts : experts; }
  [[nodiscard]] std::int64_t most_rows() const {
    return padding == CapacityPadding::kFull ? experts * capacity : tokens * top_k;
  }
};

struct BuildRoutingArgs {
  MatrixView probabilities;
  RoutingMap map;
};

// Rows that stand together and go together.
struct RowRun {
  std::int64_t from = 0, to = 0, rows = 0;
  bool operator==(const RowRun&) const = default;
};

// Rows of a map take other places: rows [from, from + rows) begin at row `to` from now on. The runs, host memory, follow one another
// in the order of `from` and take all rows that the map has to as many. So the rows of an expert that stands in several slots,
// which the map has together, come to be those of its slots.
// Worked: copies 0, 2, 3 for expert 0, which stands in slots 0 and 2, and 1 for expert 1 in slot 1 have the rows 0, 1, 2 and 3. Runs
// {0, 0, 1}, {1, 2, 2}, {3, 1, 1}: row 1 is that of copy 1 and rows 2 and 3 those of 2 and 3.
struct DealRowsArgs {
  RoutingMap map;
  std::span<const RowRun> runs;
};

// y [rows, columns]: the token of each copy; padding is zeros. weights FP32 [rows, 1]: its weight; 0 in padding.
struct PermuteArgs {
  RoutingMap map;
  MatrixView x;
  std::optional<MatrixView> probabilities;  // needed for the weights
  MatrixView y;
  std::optional<MatrixView> weights;
  bool decides = false;  // x is what gates chose: whoever gets it finds its experts in it
};
// gx: sum over a token's copies. gp [tokens, 2 top_k]: gradient of the weights, 0 for dropped copies and in the ids' columns.
struct PermuteGradArgs {
  RoutingMap map;
  MatrixView gy;
  std::optional<MatrixView> gweights;
  MatrixView gx;
  std::optional<MatrixView> gp;
};

// x [tokens, columns]: sum over a token's copies, each times its weight where probabilities are given. Dropped copies add
// nothing.
struct UnpermuteArgs {
  RoutingMap map;
  MatrixView y;
  std::optional<MatrixView> probabilities;
  MatrixView x;
};
struct UnpermuteGradArgs {
  RoutingMap map;
  MatrixView gx;
  std::optional<MatrixView> probabilities;  // as forward
  std::optional<MatrixView> y;              // needed for gp
  MatrixView gy;
  std::optional<MatrixView> gp;  // only with probabilities
};

// Rows that arrived by source rank, within a source by local expert, into the order of experts, within one by source; or back.
// counts[source * experts + expert] in host memory. Counts (1, 2 | 3, 4): the 10 rows go from 0, 1-2 | 3-5, 6-9 to
// 0, 3-5, 1-2, 6-9. The gradient of one direction is the other.
enum class RowOrder : std::uint8_t { kByExpert, kBySource };
struct SortRowsArgs {
  std::span<const std::int64_t> counts;
  std::int64_t experts = 0;
  RowOrder to = RowOrder::kByExpert;
  MatrixView x, y;
};

// Rows [from, from + rows) of x become those of y from `to` on; what no run reaches in y stays as it is. Host memory.
struct MoveRowsArgs {
  std::span<const RowRun> runs;
  MatrixView x, y;
};

}  // namespace moesim
