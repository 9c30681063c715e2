#include "exec/compute/kernel_checks.hpp"

#include <algorithm>
#include <numeric>

#include "exec/compute/checks.hpp"

namespace moesim {
namespace {

Checks check_groups(const GroupedProduct& product, std::int64_t rows) {
  const auto& counts = product.group_rows;
  Checks checks(product.kernel);
  checks.holds(std::all_of(counts.begin(), counts.end(), [](std::int64_t n) { return n >= 0; }),
               "a group has a negative number of rows");
  checks.holds(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) == rows,
               "the groups' rows do not add up to the rows of the operand");
  return checks;
}

std::int64_t weight_rows(const GroupedProduct& product, std::int64_t in) {
  return static_cast<std::int64_t>(product.group_rows.size()) * in;
}

Checks& check_head_norm(Checks& checks, std::string_view name, const std::optional<MatrixView>& weight,
                        std::int64_t heads, std::int64_t head_dim) {
  if (!weight) return checks;
  checks.matrix(name, weight, 1, weight->columns);
  return checks.holds(weight->columns == head_dim || weight->columns == heads * head_dim,
                      "a norm's weight covers neither one head nor all of them");
}

Checks check_rotary(std::string_view kernel, const RotaryShape& s, const IndexView& positions, const MatrixView& x,
                    const std::optional<MatrixView>& q_norm, const std::optional<MatrixView>& k_norm) {
  Checks checks(kernel);
  checks.matrix("x", x, x.rows, x.columns).index("positions", positions, x.rows);
  checks.holds(s.head_dim > 0, "heads have no columns");
  checks.holds(s.q_heads >= 0 && s.k_heads >= 0 && (s.q_heads + s.k_heads) * s.head_dim <= x.columns,
               "the q and k heads need more columns than there are");
  checks.holds(s.rotary_dim >= 0 && s.rotary_dim <= s.head_dim && s.rotary_dim % 2 == 0,
               "rotary_dim is odd or larger than a head");
  check_head_norm(checks, "q_norm", q_norm, s.q_heads, s.head_dim);
  check_head_norm(checks, "k_norm", k_norm, s.k_heads, s.head_dim);
  return checks;
}

// What both passes of attention read.
void check_attention(Checks& checks, const AttentionHeads& shape, const TokenPlaces& queries, const TokenPlaces& keys,
                     const MatrixView& q, const MatrixView& k, const MatrixView& v) {
  checks.holds(
      shape.heads > 0 && shape.kv_heads > 0 && shape.head_dim > 0 && shape.value_head_dim > 0 && shape.window >= 0,
      "a size is not positive");
  checks.holds(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0,
               "the query heads are no multiple of the kv heads");
  checks.matrix("q", q, q.rows, shape.heads * shape.head_dim)
      .matrix("k", k, k.rows, shape.kv_heads * shape.head_dim)
      .matrix("v", v, k.rows, shape.kv_heads * shape.value_head_dim)
      .index("queries.positions", queries.positions, q.rows)
      .index("queries.sequences", queries.sequences, q.rows)
      .index("keys.positions", keys.positions, k.rows)
      .index("keys.sequences", keys.sequences, k.rows);
}

Checks check_gate(std::string_view kernel, const GateSettings& gate, const MatrixView& logits,
                  const MatrixView& probabilities) {
  Checks checks(kernel);
  checks.matrix("logits", logits, logits.rows, logits.columns)
      .holds(gate.top_k >= 1 && gate.top_k <= logits.columns, "top_k is not between 1 and the number of experts")
      .holds(gate.score != RouterScore::kSparsemixer, "the scores of sparsemixer are not implemented")
      .holds(gate.groups <= 1 ||
                 (logits.columns % gate.groups == 0 && gate.top_groups >= 1 && gate.top_groups <= gate.groups &&
                  gate.top_k <= logits.columns / gate.groups * gate.top_groups),
             "the groups do not divide the experts, or have too few for top_k")
      .fp32("probabilities", probabilities, logits.rows, 2 * gate.top_k);
  return checks;
}

Status check_forced(std::span<const std::int32_t> forced, const MatrixView& logits, std::int64_t top_k) {
  if (forced.empty()) return {};
  const auto possible = [&](std::int32_t n) { return n >= 0 && n <= logits.rows; };
  return Checks("top_k")
      .holds(static_cast<std::int64_t>(forced.size()) == logits.columns, "forced counts are not one per expert")
      .holds(std::all_of(forced.begin(), forced.end(), possible),
             "a forced count is negative or larger than the number of tokens")
      .holds(std::accumulate(forced.begin(), forced.end(), std::int64_t{0}) == logits.rows * top_k,
             "the forced counts do not add up to tokens * top_k")
      .status();
}

// `permuted` in expert order, `tokens` in token order.
Checks check_map(std::string_view kernel, const RoutingMap& map, std::int64_t rows, std::string_view permuted_name,
                 const MatrixView& permuted, std::string_view tokens_name, const MatrixView& tokens) {
  Checks checks(kernel);
  checks.matrix(permuted_name, permuted, rows, tokens.columns).matrix(tokens_name, tokens, map.tokens, tokens.columns);
  return checks;
}

}  // namespace

Status check_forward(const GroupedProduct& product, const MatrixView& x, const MatrixView& w, const MatrixView& y) {
  return check_groups(product, x.rows)
      .matrix("x", x, x.rows, x.columns)
      .matrix("w", w, weight_rows(product, x.columns), y.columns)
      .matrix("y", y, x.rows, y.columns)
      .status();
}

Status check_input_gradient(const GroupedProduct& product, const MatrixView& gy, const MatrixView& w,
                            const MatrixView& gx) {
  return check_groups(product, gy.rows)
      .matrix("gy", gy, gy.rows, gy.columns)
      .matrix("w", w, weight_rows(product, gx.columns), gy.columns)
      .matrix("gx", gx, gy.rows, gx.columns)
      .status();
}

Status check_weight_gradient(const GroupedProduct& product, const MatrixView& x, const MatrixView& gy,
                             const MatrixView& gw) {
  return check_groups(product, x.rows)
      .matrix("x", x, x.rows, x.columns)
      .matrix("gy", gy, x.rows, gy.columns)
      .fp32("gw", gw, weight_rows(product, x.columns), gy.columns)
      .status();
}

Status check_operands(const NormArgs& args) {
  return Checks("norm")
      .matrix("x", args.x, args.x.rows, args.x.columns)
      .matrix("weight", args.weight, 1, args.weight.columns)
      .holds(args.weight.columns <= args.x.columns, "weight has more columns than x")
      .matrix("y", args.y, args.x.rows, args.x.columns)
      .status();
}

Status check_operands(const NormGradArgs& args) {
  const std::int64_t columns = args.x.columns;
  return Checks("norm_grad")
      .matrix("x", args.x, args.x.rows, columns)
      .matrix("gy", args.gy, args.x.rows, columns)
      .matrix("weight", args.weight, 1, args.weight.columns)
      .holds(args.weight.columns <= columns, "weight has more columns than x")
      .matrix("gx", args.gx, args.x.rows, columns)
      .fp32("gw", args.gw, 1, args.weight.columns)
      .status();
}

Status check_operands(const RotaryArgs& args) {
  return check_rotary("rotary", args.shape, args.positions, args.x, args.q_norm, args.k_norm)
      .matrix("y", args.y, args.x.rows, args.x.columns)
      .status();
}

Status check_operands(const RotaryGradArgs& args) {
  const bool norms = args.q_norm.has_value() || args.k_norm.has_value();
  Checks checks = check_rotary("rotary_grad", args.shape, args.positions, args.gy, args.q_norm, args.k_norm);
  checks.matrix("x", args.x, args.gy.rows, args.gy.columns).matrix("gx", args.gx, args.gy.rows, args.gy.columns);
  checks.holds(!norms || args.x.has_value(), "the gradient of norms needs x");
  checks.holds((!args.gq_norm || args.q_norm) && (!args.gk_norm || args.k_norm),
               "a gradient of a norm that there is not");
  if (args.q_norm) checks.fp32("gq_norm", args.gq_norm, 1, args.q_norm->columns);
  if (args.k_norm) checks.fp32("gk_norm", args.gk_norm, 1, args.k_norm->columns);
  return checks.status();
}

Status check_operands(const AttentionArgs& args) {
  const AttentionHeads& s = args.shape;
  Checks checks("attention");
  check_attention(checks, s, args.queries, args.keys, args.q, args.k, args.v);
  return checks.matrix("o", args.o, args.q.rows, s.heads * s.value_head_dim)
      .fp32("lse", args.lse, args.q.rows, s.heads)
      .status();
}

Status check_operands(const AttentionGradArgs& args) {
  const AttentionHeads& s = args.shape;
  Checks checks("attention_grad");
  check_attention(checks, s, args.queries, args.keys, args.q, args.k, args.v);
  return checks.matrix("o", args.o, args.q.rows, s.heads * s.value_head_dim)
      .matrix("go", args.go, args.q.rows, s.heads * s.value_head_dim)
      .fp32("lse", args.lse, args.q.rows, s.heads)
      .matrix("gq", args.gq, args.q.rows, s.heads * s.head_dim)
      .matrix("gk", args.gk, args.k.rows, s.kv_heads * s.head_dim)
      .matrix("gv", args.gv, args.k.rows, s.kv_heads * s.value_head_dim)
      .status();
}

Status check_operands(const ActivationArgs& args) {
  const std::int64_t rows = args.y.rows;
  return Checks("activation")
      .matrix("x", args.x, rows, columns_of_input(args.kind, args.y.columns))
      .fp32("row_weights", args.row_weights, rows, 1)
      .matrix("y", args.y, rows, args.y.columns)
      .status();
}

Status check_operands(const ActivationGradArgs& args) {
  const std::int64_t rows = args.gy.rows;
  const std::int64_t inputs = columns_of_input(args.kind, args.gy.columns);
  return Checks("activation_grad")
      .matrix("gy", args.gy, rows, args.gy.columns)
      .matrix("x", args.x, rows, inputs)
      .fp32("row_weights", args.row_weights, rows, 1)
      .matrix("gx", args.gx, rows, inputs)
      .fp32("g_row_weights", args.g_row_weights, rows, 1)
      .status();
}

Status check_operands(const EmbeddingArgs& args) {
  const std::int64_t columns = args.table.columns;
  return Checks("embedding")
      .matrix("table", args.table, args.table.rows, columns)
      .matrix("y", args.y, args.tokens.count, columns)
      .index("tokens", args.tokens, args.y.rows)
      .status();
}

Status check_operands(const EmbeddingGradArgs& args) {
  const std::int64_t columns = args.gtable.columns;
  return Checks("embedding_grad")
      .matrix("gy", args.gy, args.tokens.count, columns)
      .fp32("gtable", args.gtable, args.gtable.rows, columns)
      .index("tokens", args.tokens, args.gy.rows)
      .status();
}

Status check_operands(const CrossEntropyArgs& args) {
  const std::int64_t valid = args.valid_columns;
  return Checks("cross_entropy")
      .matrix("logits", args.logits, args.logits.rows, args.logits.columns)
      .holds(valid >= 0 && valid <= args.logits.columns, "more valid columns than columns")
      .index("labels", args.labels, args.logits.rows)
      .fp32("statistics", args.statistics, args.logits.rows, kLossStatistics)
      .status();
}

Status check_operands(const CombineLossArgs& args) {
  const std::int64_t rows = args.combined.rows;
  Checks checks("combine_loss");
  checks.fp32("combined", args.combined, rows, kLossStatistics).holds(!args.parts.empty(), "there are no parts");
  for (const MatrixView& part : args.parts) checks.fp32("part", part, rows, kLossStatistics);
  return checks.status();
}

Status check_operands(const LossSumArgs& args) {
  return Checks("loss_sum")
      .fp32("statistics", args.statistics, args.labels.count, kLossStatistics)
      .index("labels", args.labels, args.statistics.rows)
      .holds(args.sum != nullptr, "sum has no memory")
      .status();
}

Status check_operands(const CrossEntropyGradArgs& args) {
  const std::int64_t valid = args.valid_columns;
  const std::int64_t columns = args.logits.columns;
  return Checks("cross_entropy_grad")
      .matrix("logits", args.logits, args.logits.rows, columns)
      .holds(valid >= 0 && valid <= columns, "more valid columns than columns")
      .index("labels", args.labels, args.logits.rows)
      .fp32("statistics", args.statistics, args.logits.rows, kLossStatistics)
      .matrix("glogits", args.glogits, args.logits.rows, columns)
      .status();
}

Status check_operands(const AddArgs& args) {
  const std::int64_t rows = args.y.rows;
  const std::int64_t columns = args.y.columns;
  return Checks("add")
      .matrix("y", args.y, rows, columns)
      .matrix("a", args.a, rows, columns)
      .matrix("b", args.b, rows, columns)
      .status();
}

Status check_operands(const CastArgs& args) {
  return Checks("cast")
      .matrix("y", args.y, args.y.rows, args.y.columns)
      .matrix("x", args.x, args.y.rows, args.y.columns)
      .status();
}

Status check_operands(const ToFp8Args& args) {
  return Checks("to_fp8")
      .matrix("x", args.x, args.x.rows, args.x.columns)
      .fp8("y", args.y, args.x.rows, args.x.columns)
      .fp32("scales", args.scales, args.x.rows, scales_of_row(args.x.columns))
      .status();
}

Status check_operands(const FromFp8Args& args) {
  return Checks("from_fp8")
      .matrix("y", args.y, args.y.rows, args.y.columns)
      .fp8("x", args.x, args.y.rows, args.y.columns)
      .fp32("scales", args.scales, args.y.rows, scales_of_row(args.y.columns))
      .status();
}

Status check_operands(const ScaleArgs& args) {
  return Checks("scale").matrix("x", args.x, args.x.rows, args.x.columns).status();
}

Status check_operands(const SquareSumArgs& args) {
  return Checks("square_sum")
      .matrix("x", args.x, args.x.rows, args.x.columns)
      .holds(args.sum != nullptr, "sum has no memory")
      .status();
}

Status check_operands(const AdamWArgs& args) {
  const std::int64_t rows = args.master.rows;
  const std::int64_t columns = args.master.columns;
  return Checks("adamw")
      .holds(args.step >= 1, "steps count from 1")
      .fp32("master", args.master, rows, columns)
      .fp32("gradient", args.gradient, rows, columns)
      .fp32("first_moment", args.first_moment, rows, columns)
      .fp32("second_moment", args.second_moment, rows, columns)
      .matrix("parameter", args.parameter, rows, columns)
      .status();
}

Status check_operands(const TopKArgs& args) {
  MOESIM_TRY(check_gate("top_k", args.gate, args.logits, args.probabilities)
                 .fp32("statistics", args.statistics, 2, args.logits.columns)
                 .matrix("bias", args.bias, 1, args.logits.columns)
                 .status());
  return check_forced(args.forced_counts, args.logits, args.gate.top_k);
}

Status check_operands(const TopKGradArgs& args) {
  const std::int64_t experts = args.logits.columns;
  Checks checks = check_gate("top_k_grad", args.gate, args.logits, args.probabilities);
  checks.matrix("gp", args.gp, args.logits.rows, 2 * args.gate.top_k)
      .matrix("glogits", args.glogits, args.logits.rows, experts);
  if (args.balance) checks.fp32("statistics", args.balance->statistics, 2, experts);
  return checks.status();
}

Status check_operands(const BuildRoutingArgs& args) {
  const RoutingMap& map = args.map;
  return Checks("build_routing")
      .fp32("probabilities", args.probabilities, map.tokens, 2 * map.choices())
      .holds(!map.of_visits() || (map.top_k == map.experts && map.part_slots > 0), "parts that tokens visit need slots")
      .holds(!map.of_visits() || map.capacity == 0, "visits know no capacity")
      .holds(map.capacity > 0 || map.padding == CapacityPadding::kNone, "padding needs a capacity")
      .holds(map.first_expert >= 0 &&
                 map.first_expert + map.experts * (map.of_visits() ? map.part_slots : 1) <= map.known_experts(),
             "the map's experts are not among all experts")
      .holds(map.experts == 0 || map.expert_rows != nullptr, "expert_rows has no memory")
      .holds(map.tokens * map.top_k == 0 || map.row_of_copy != nullptr, "row_of_copy has no memory")
      .holds(map.most_rows() == 0 || map.copy_of_row != nullptr, "copy_of_row has no memory")
      .status();
}

Status check_operands(const DealRowsArgs& args) {
  std::int64_t rows = 0;
  bool follow = true;
  for (const RowRun& run : args.runs) {
    follow = follow && run.from == rows && run.rows > 0;
    rows += run.rows;
  }
  const bool fit = std::all_of(args.runs.begin(), args.runs.end(),
                               [&](const RowRun& run) { return run.to >= 0 && run.to + run.rows <= rows; });
  return Checks("deal_rows")
      .holds(follow, "the runs do not follow one another")
      .holds(fit && rows <= args.map.most_rows(), "a run is not inside the map")
      .status();
}

Status check_operands(const PermuteArgs& args, std::int64_t rows) {
  return check_map("permute", args.map, rows, "y", args.y, "x", args.x)
      .same_type("y", args.y, args.x)
      .fp32("probabilities", args.probabilities, args.map.tokens, 2 * args.map.top_k)
      .fp32("weights", args.weights, args.y.rows, 1)
      .holds(!args.weights || args.probabilities, "weights need the probabilities")
      .status();
}

Status check_operands(const PermuteGradArgs& args, std::int64_t rows) {
  return check_map("permute_grad", args.map, rows, "gy", args.gy, "gx", args.gx)
      .fp32("gweights", args.gweights, args.gy.rows, 1)
      .fp32("gp", args.gp, args.map.tokens, 2 * args.map.top_k)
      .status();
}

Status check_operands(const UnpermuteArgs& args, std::int64_t rows) {
  return check_map("unpermute", args.map, rows, "y", args.y, "x", args.x)
      .fp32("probabilities", args.probabilities, args.map.tokens, 2 * args.map.top_k)
      .status();
}

Status check_operands(const UnpermuteGradArgs& args, std::int64_t rows) {
  return check_map("unpermute_grad", args.map, rows, "gy", args.gy, "gx", args.gx)
      .fp32("probabilities", args.probabilities, args.map.tokens, 2 * args.map.top_k)
      .matrix("y", args.y, args.gy.rows, args.gx.columns)
      .fp32("gp", args.gp, args.map.tokens, 2 * args.map.top_k)
      .holds(!args.gp || (args.probabilities && args.y), "gp needs the probabilities and y")
      .status();
}

Status check_operands(const SortRowsArgs& args) {
  const auto blocks = static_cast<std::int64_t>(args.counts.size());
  const bool counts_fit = std::all_of(args.counts.begin(), args.counts.end(), [](std::int64_t n) { return n >= 0; });
  const std::int64_t rows = std::accumulate(args.counts.begin(), args.counts.end(), std::int64_t{0});
  return Checks("sort_rows")
      .holds(counts_fit, "a count is negative")
      .holds(args.experts > 0 ? blocks % args.experts == 0 : blocks == 0, "the counts are not whole rows of experts")
      .matrix("x", args.x, rows, args.x.columns)
      .matrix("y", args.y, rows, args.x.columns)
      .same_type("y", args.y, args.x)
      .status();
}

Status check_operands(const MoveRowsArgs& args) {
  const bool fit = std::all_of(args.runs.begin(), args.runs.end(), [&](const RowRun& run) {
    return run.rows > 0 && run.from >= 0 && run.from + run.rows <= args.x.rows && run.to >= 0 &&
           run.to + run.rows <= args.y.rows;
  });
  return Checks("move_rows")
      .holds(fit, "a run of rows is empty or leaves its matrix")
      .matrix("x", args.x, args.x.rows, args.x.columns)
      .matrix("y", args.y, args.y.rows, args.x.columns)
      .same_type("y", args.y, args.x)
      .status();
}

}  // namespace moesim
