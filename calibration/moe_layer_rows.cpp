// moe_layer.csv: components of one MoE layer. Routing is taken as balanced, which the sources say or imply.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/text.hpp"
#include "calibration/measurement_rows.hpp"

namespace moesim {
namespace {

struct Layer {
  std::int64_t gpus = 1;
  std::int64_t tp = 1;
  std::int64_t ep = 1;
  std::int64_t tokens = 0;  // per rank
  std::int64_t hidden = 0;
  std::int64_t ffn = 0;
  std::int64_t experts = 0;
  std::int64_t local_experts = 0;
  std::int64_t topk = 1;
  std::int64_t count = 1;
  DType type = DType::kBf16;
  // Rows of each local expert: all tokens of the group that share the experts, spread evenly.
  [[nodiscard]] std::vector<std::int64_t> rows(std::int64_t sharing_ranks) const {
    return std::vector<std::int64_t>(static_cast<std::size_t>(local_experts), tokens * topk * sharing_ranks / experts);
  }
};

// The number that a field starts with: "8 local" is 8.
std::int64_t leading_number(std::string_view text, std::int64_t fallback) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end != text.data() ? value : fallback;
}

Layer read_layer(const CsvReader& reader) {
  const auto at_least_one = [&](std::string_view column) {
    return std::max<std::int64_t>(1, leading_number(reader.text(column), 1));
  };
  Layer layer;
  layer.gpus = at_least_one("n_gpus");
  layer.tp = at_least_one("tp");
  layer.ep = at_least_one("ep");
  layer.tokens = leading_number(reader.text("tokens_per_rank"), 0);
  layer.hidden = leading_number(reader.text("hidden"), 0);
  layer.ffn = leading_number(reader.text("ffn_moe"), 0);
  layer.experts = leading_number(reader.text("experts"), 0);
  layer.local_experts = mentions(reader.text("experts"), "local") ? layer.experts : layer.experts / layer.ep;
  layer.topk = at_least_one("topk");
  layer.count = at_least_one("count");
  layer.type = mentions(reader.text("precision"), "fp8") ? DType::kFp8 : DType::kBf16;
  return layer;
}

bool usable(const Layer& layer) {
  constexpr std::int64_t kMany = 1'000'000'000;
  for (const std::int64_t value :
       {layer.tokens, layer.hidden, layer.ffn, layer.experts, layer.local_experts, layer.topk})
    if (value <= 0 || value > kMany) return false;
  return layer.local_experts <= 4096 && layer.gpus <= 65536;
}

double grouped(const CostModel& model, const std::vector<std::int64_t>& rows, std::int64_t n, std::int64_t k,
               DType type, bool reduce_rows = false) {
  return model
      .grouped_gemm(0, {.rows = rows,
                        .n = n,
                        .k = k,
                        .type = type,
                        .output = reduce_rows ? DType::kFp32 : DType::kBf16,
                        .reduce_rows = reduce_rows})
      .time.value();
}

// Gate and up projection in one GEMM, then down; the input gradients mirror them.
double expert_forward(const CostModel& model, const Layer& layer, const std::vector<std::int64_t>& rows) {
  return grouped(model, rows, 2 * layer.ffn, layer.hidden, layer.type) +
         grouped(model, rows, layer.hidden, layer.ffn, layer.type);
}
double expert_input_gradient(const CostModel& model, const Layer& layer, const std::vector<std::int64_t>& rows) {
  return grouped(model, rows, layer.ffn, layer.hidden, layer.type) +
         grouped(model, rows, layer.hidden, 2 * layer.ffn, layer.type);
}
double expert_weight_gradient(const CostModel& model, const Layer& layer, const std::vector<std::int64_t>& rows) {
  return grouped(model, rows, 2 * layer.ffn, layer.hidden, layer.type, true) +
         grouped(model, rows, layer.hidden, layer.ffn, layer.type, true);
}

std::vector<RankId> first_ranks(std::int64_t count) {
  std::vector<RankId> ranks;
  for (std::int64_t i = 0; i < count; ++i) ranks.emplace_back(static_cast<std::int32_t>(i));
  return ranks;
}

// COMET and Flux hide the collective behind the GEMM it feeds or drains: the longer of the two. All ranks of
// the layer gather the tokens over TP and hold 1/tp of each expert's width.
void fused_layer_half(const CsvReader& reader, const Layer& layer, Measurement& row) {
  if (!mentions(reader.text("library"), "fused")) {
    row.skipped = "unoptimised baseline of the source";
    return;
  }
  const bool first = mentions(reader.text("component"), "layer0");
  const auto group = std::make_shared<const GroupTopology>(*row.view, first_ranks(layer.gpus));
  row.law = first ? "all_gather+grouped_gemm" : "grouped_gemm+reduce_scatter";
  row.predict = [layer, first, group, view = row.view](const CostModel& model) {
    const std::vector<std::int64_t> rows = layer.rows(layer.gpus);
    const Bytes gathered = storage(layer.tokens * layer.gpus * layer.hidden, DType::kBf16);
    const double network =
        model.collective(first ? CollectiveKind::kAllGather : CollectiveKind::kReduceScatter, *group, gathered)
            .time.value();
    const double math = first ? grouped(model, rows, layer.ffn / layer.tp, layer.hidden, layer.type)
                              : grouped(model, rows, layer.hidden, layer.ffn / layer.tp, layer.type);
    return std::max(network, math);
  };
}

// A DeepSeek-V3 chunk pair: kernels run beside communication, and times are sums over `count` kernels.
void deepseek_kernel(const CsvReader& reader, const Layer& layer, Measurement& row) {
  const std::string component(reader.text("component"));
  if (component == "grouped GEMM fp8 (fwd/dgrad)") {
    row.law = "grouped_gemm";
    row.predict = [layer](const CostModel& model) {  // four kernels per layer: two forward, two for the input gradient
      const std::vector<std::int64_t> rows = layer.rows(layer.ep);
      return static_cast<double>(layer.count) / 4 * model.compute_slowdown_beside_communication(0) *
             (expert_forward(model, layer, rows) + expert_input_gradient(model, layer, rows));
    };
    return;
  }
  if (component == "attention fwd" || component == "attention bwd") {
    const bool backward = component == "attention bwd";
    row.law = backward ? "attention_backward" : "attention_forward";
    row.predict = [layer, backward](const CostModel& model) {  // MLA of DeepSeek-V3: 128 heads of 192 and 128
      const AttentionWork work{.sequences = 1,
                               .query_length = layer.tokens,
                               .key_length = layer.tokens,
                               .heads = 128,
                               .kv_heads = 128,
                               .qk_dim = 192,
                               .v_dim = 128,
                               .backward = backward};
      return static_cast<double>(layer.count) * model.compute_slowdown_beside_communication(0) *
             model.attention(0, work).time.value();
    };
    return;
  }
  row.skipped = mentions(component, "ep ")     ? "communication kernels that include waiting for other ranks"
                : mentions(component, "stage") ? "sum over a stage whose kernels the source does not list"
                                               : "kernels of shapes the source does not list";
}

void whole_expert_layer(const Layer& layer, Measurement& row) {
  row.law = "moe_layer";
  row.predict = [layer](const CostModel& model) {
    const std::vector<std::int64_t> rows(static_cast<std::size_t>(layer.local_experts),
                                         layer.tokens * layer.topk / layer.local_experts);
    const std::int64_t tokens = layer.tokens * layer.topk;
    const Bytes wide = storage(tokens * layer.hidden, DType::kBf16);
    const Bytes inner = storage(tokens * layer.ffn, DType::kBf16);
    // Permute and un-permute both ways; SwiGLU forward 2 in 1 out, backward 3 in 2 out.
    const double moves =
        4 * model.memory_bound(0, {.read = wide, .written = wide, .row_bytes = 2 * layer.hidden}).time.value();
    const double activation = model.memory_bound(0, {.read = 2 * inner, .written = inner}).time.value() +
                              model.memory_bound(0, {.read = 3 * inner, .written = 2 * inner}).time.value();
    return expert_forward(model, layer, rows) + expert_input_gradient(model, layer, rows) +
           expert_weight_gradient(model, layer, rows) + moves + activation;
  };
}

void expert_component(const CsvReader& reader, const Layer& layer, Measurement& row) {
  const std::string_view component = reader.text("component");
  const bool backward = mentions(reader.text("phase"), "backward");
  if (mentions(component, "moe.grouped_gemm")) {
    row.law = "grouped_gemm";
    row.predict = [layer, backward](const CostModel& model) {
      const std::vector<std::int64_t> rows = layer.rows(layer.ep);
      return backward ? expert_input_gradient(model, layer, rows) + expert_weight_gradient(model, layer, rows)
                      : expert_forward(model, layer, rows);
    };
  } else if (mentions(component, "moe.dispatch") || mentions(component, "moe.combine")) {
    row.law = "all_to_all";
    const auto group = std::make_shared<const GroupTopology>(*row.view, first_ranks(layer.ep));
    row.predict = [layer, group, view = row.view](const CostModel& model) {
      return model
          .collective(CollectiveKind::kAllToAll, *group,
                      storage(layer.tokens * layer.topk * layer.hidden, DType::kBf16))
          .time.value();
    };
  } else {
    row.skipped = "kernels of shapes the source does not list";
  }
}

}  // namespace

Result<Measurement> read_moe_layer_row(const CsvReader& reader, MeasuredClusters& clusters) {
  Measurement row = common_fields(reader);
  MOESIM_ASSIGN(const std::optional<double> time, reader.number("time_us"));
  row.measured = time.value_or(0) * 1e-6;
  row.law = "moe_layer";
  const Layer layer = read_layer(reader);
  if (!usable(layer) || row.measured <= 0) {
    row.skipped = "shape or time missing";
    return row;
  }
  const std::int64_t per_node = std::max<std::int64_t>(1, leading_number(reader.text("gpus_per_node"), layer.gpus));
  row.view = layer.gpus == 1 ? clusters.single_device(row.hardware, row.skipped)
                             : clusters.find(row.hardware, "", static_cast<int>((layer.gpus + per_node - 1) / per_node),
                                             row.skipped);
  if (!row.view) return row;
  if (row.view->ranks() < layer.gpus || layer.ep > layer.gpus) {
    row.skipped = "the preset has fewer GPUs per node than the row";
    return row;
  }
  const std::string_view component = reader.text("component");
  if (mentions(component, "layer0:") || mentions(component, "layer1:"))
    fused_layer_half(reader, layer, row);
  else if (mentions(component, "single moe layer"))
    whole_expert_layer(layer, row);
  else if (mentions(reader.text("model_or_case"), "dualpipe"))
    deepseek_kernel(reader, layer, row);
  else
    expert_component(reader, layer, row);
  return row;
}

}  // namespace moesim
