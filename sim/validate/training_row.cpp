#include "sim/validate/training_row.hpp"

#include <algorithm>
#include <charconv>
#include <initializer_list>

#include "base/text.hpp"

namespace moesim {
namespace {

// Larger than any size that means something, small enough that products of two fit.
constexpr std::int64_t kLargestSize = 1'000'000'000;

RowNumber size_in(const CsvReader& reader, std::string_view column, std::vector<std::string>& unreadable) {
  const std::string_view text = trim(reader.text(column));
  if (text.empty()) return std::nullopt;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value >= 0 && value <= kLargestSize) return value;
  unreadable.emplace_back(column);
  return std::nullopt;
}

std::string words_in(const CsvReader& reader, std::string_view column) {
  return std::string(trim(reader.text(column)));
}

void read_names(const CsvReader& reader, TrainingRow& row) {
  row.id = words_in(reader, "id");
  row.source = words_in(reader, "source_id");
  row.hardware = words_in(reader, "hardware");
  row.interconnect = words_in(reader, "interconnect");
  row.framework = words_in(reader, "framework");
  row.model = words_in(reader, "model");
  row.quality = words_in(reader, "quality");
  row.caveats = words_in(reader, "caveats");
  row.derived = words_in(reader, "derived_fields");
  row.rank_group = words_in(reader, "rank_group");
  row.attention = words_in(reader, "attention");
  row.head_dim = words_in(reader, "head_dim");
  row.expert_width_text = words_in(reader, "ffn_moe");
  row.precision = words_in(reader, "precision");
  row.zero = words_in(reader, "zero_fsdp");
  row.recompute = words_in(reader, "recompute");
  row.dispatcher = words_in(reader, "dispatcher");
  row.schedule = words_in(reader, "schedule");
  row.routing = words_in(reader, "routing");
}

void read_sizes(const CsvReader& reader, TrainingRow& row) {
  const std::initializer_list<std::pair<std::string_view, RowNumber*>> sizes = {{"n_gpus", &row.gpus},
                                                                                {"gpus_per_node", &row.gpus_per_node},
                                                                                {"layers", &row.layers},
                                                                                {"dense_layers", &row.dense_layers},
                                                                                {"hidden", &row.hidden},
                                                                                {"ffn_dense", &row.ffn_dense},
                                                                                {"ffn_moe", &row.ffn_moe},
                                                                                {"experts", &row.experts},
                                                                                {"topk", &row.top_k},
                                                                                {"shared_experts", &row.shared_experts},
                                                                                {"heads", &row.heads},
                                                                                {"kv_heads", &row.kv_heads},
                                                                                {"vocab", &row.vocab},
                                                                                {"seq_len", &row.seq_length},
                                                                                {"tp", &row.tp},
                                                                                {"pp", &row.pp},
                                                                                {"vpp", &row.vpp},
                                                                                {"cp", &row.cp},
                                                                                {"ep", &row.ep},
                                                                                {"etp", &row.etp},
                                                                                {"dp", &row.dp},
                                                                                {"mbs", &row.micro_batch},
                                                                                {"gbs", &row.global_batch},
                                                                                {"ga", &row.micro_batches}};
  for (const auto& [column, number] : sizes) *number = size_in(reader, column, row.unreadable);
}

Status read_results(const CsvReader& reader, TrainingRow& row) {
  MOESIM_ASSIGN(row.step_time, reader.number("step_time_s"));
  MOESIM_ASSIGN(row.tokens_per_second, reader.number("tokens_per_s_per_gpu"));
  MOESIM_ASSIGN(row.tflops, reader.number("tflops_per_gpu"));
  MOESIM_ASSIGN(row.mfu_percent, reader.number("mfu_pct"));
  MOESIM_ASSIGN(row.peak_memory_gib, reader.number("peak_mem_gib"));
  return {};
}

}  // namespace

bool TrainingRow::is_unreadable(std::string_view column) const {
  return std::find(unreadable.begin(), unreadable.end(), column) != unreadable.end();
}

bool is_training_format(const CsvReader& reader) {
  const std::initializer_list<std::string_view> columns = {"id",      "hardware", "n_gpus", "layers", "hidden",
                                                           "seq_len", "tp",       "pp",     "gbs",    "step_time_s"};
  return std::all_of(columns.begin(), columns.end(),
                     [&](std::string_view column) { return reader.has_column(column); });
}

Result<TrainingRow> read_training_row(const CsvReader& reader) {
  TrainingRow row;
  read_names(reader, row);
  read_sizes(reader, row);
  MOESIM_TRY(read_results(reader, row));
  return row;
}

std::optional<double> number_after(std::string_view text, std::string_view word) {
  const std::string lower = to_lower(text);
  std::size_t at = lower.find(to_lower(word));
  if (at == std::string::npos) return std::nullopt;
  at += word.size();
  while (at < lower.size() && lower[at] == ' ') ++at;
  double value = 0;
  const auto [end, error] =
      std::from_chars(lower.data() + at, lower.data() + lower.size(), value, std::chars_format::fixed);
  if (error != std::errc()) return std::nullopt;
  return value;
}

}  // namespace moesim
