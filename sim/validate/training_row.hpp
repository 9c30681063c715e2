// One published training run as its file states it: numbers where a column holds numbers, text where it holds words.
//
// Columns are found by name; a column that the file lacks is as empty as one without an entry. A size column that holds
// words ("see model_config") leaves its number unset and is listed in `unreadable`, so that only a row which needs that
// number is lost to it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/csv.hpp"
#include "base/error.hpp"

namespace moesim {

using RowNumber = std::optional<std::int64_t>;

struct TrainingRow {
  std::string id, source, hardware, interconnect, framework, model, quality, caveats, derived, rank_group;
  RowNumber gpus, gpus_per_node;

  std::string attention, head_dim, expert_width_text;
  RowNumber layers, dense_layers, hidden, ffn_dense, ffn_moe, experts, top_k, shared_experts, heads, kv_heads, vocab;

  std::string precision, zero, recompute, dispatcher, schedule, routing;
  RowNumber seq_length, tp, pp, vpp, cp, ep, etp, dp, micro_batch, global_batch, micro_batches;

  std::optional<double> step_time, tokens_per_second, tflops, mfu_percent, peak_memory_gib;

  std::vector<std::string> unreadable;  // columns

  [[nodiscard]] bool is_moe() const { return experts.has_value(); }
  [[nodiscard]] bool is_unreadable(std::string_view column) const;
};

// Told by the header alone.
[[nodiscard]] bool is_training_format(const CsvReader& reader);
// The reader's current row. An error only for results that are no numbers.
[[nodiscard]] Result<TrainingRow> read_training_row(const CsvReader& reader);

// The number that follows the word ("kv_lora" in "q_lora1536 kv_lora512": 512), spaces between skipped.
[[nodiscard]] std::optional<double> number_after(std::string_view text, std::string_view word);

}  // namespace moesim
