// gemm.csv: GEMM, grouped GEMM and attention kernels of one device.
#include <fmt/format.h>

#include <vector>

#include "base/text.hpp"
#include "calibration/measurement_rows.hpp"

namespace moesim {
namespace {

Result<DType> row_format(const CsvReader& reader) {
  const std::string_view text = reader.text("dtype");
  return parse_dtype(text.substr(0, text.find(' ')));  // "fp8 e4m3 -> bf16" starts with the inputs' format
}

Result<std::int64_t> field_or(const CsvReader& reader, std::string_view column, std::int64_t fallback) {
  MOESIM_ASSIGN(const std::optional<std::int64_t> value, reader.integer(column));
  return value.value_or(fallback);
}

Status read_gemm(const CsvReader& reader, DType type, Measurement& row) {
  GemmWork work{.type = type};
  MOESIM_ASSIGN(work.m, field_or(reader, "m", 0));
  MOESIM_ASSIGN(work.n, field_or(reader, "n", 0));
  MOESIM_ASSIGN(work.k, field_or(reader, "k", 0));
  MOESIM_ASSIGN(work.batch, field_or(reader, "batch", 1));
  if (reader.text("notes").find("out fp32") != std::string_view::npos) work.output = DType::kFp32;
  if (work.m <= 0 || work.n <= 0 || work.k <= 0 || work.batch <= 0) row.skipped = "no GEMM shape";
  row.law = "gemm";
  row.predict = [work](const CostModel& model) { return model.gemm(0, work).time.value(); };
  return {};
}

Status read_grouped(const CsvReader& reader, DType type, Measurement& row) {
  GroupedGemmWork work{.rows = {}, .type = type};
  MOESIM_ASSIGN(const std::int64_t groups, field_or(reader, "groups", 0));
  MOESIM_ASSIGN(std::int64_t m, field_or(reader, "m", 0));
  MOESIM_ASSIGN(work.n, field_or(reader, "n", 0));
  MOESIM_ASSIGN(work.k, field_or(reader, "k", 0));
  if (groups <= 0 || groups > 4096 || m <= 0 || work.n <= 0 || work.k <= 0) {
    row.skipped = "no grouped GEMM shape";
    return {};
  }
  if (reader.text("notes").find("total") != std::string_view::npos) m /= groups;
  row.law = "grouped_gemm";
  const std::vector<std::int64_t> rows(static_cast<std::size_t>(groups), m);
  row.predict = [work, rows](const CostModel& model) {
    GroupedGemmWork own = work;
    own.rows = rows;
    return model.grouped_gemm(0, own).time.value();
  };
  return {};
}

// Where only a rate is given, it counts the work of a full (not causal) square, 2.5 times that backward.
Status read_attention(const CsvReader& reader, DType type, bool backward, Measurement& row) {
  AttentionWork work{.backward = backward, .type = type};
  MOESIM_ASSIGN(work.sequences, field_or(reader, "batch", 1));
  MOESIM_ASSIGN(work.query_length, field_or(reader, "seq_q", 0));
  MOESIM_ASSIGN(work.key_length, field_or(reader, "seq_kv", work.query_length));
  MOESIM_ASSIGN(work.heads, field_or(reader, "heads", 0));
  MOESIM_ASSIGN(work.kv_heads, field_or(reader, "kv_heads", work.heads));
  MOESIM_ASSIGN(work.qk_dim, field_or(reader, "head_dim_qk", 0));
  MOESIM_ASSIGN(work.v_dim, field_or(reader, "head_dim_v", work.qk_dim));
  MOESIM_ASSIGN(const std::int64_t causal, field_or(reader, "causal", 1));
  MOESIM_ASSIGN(const std::optional<double> tflops, reader.number("tflops"));
  work.causal = causal != 0;
  if (work.query_length <= 0 || work.heads <= 0 || work.qk_dim <= 0) row.skipped = "no attention shape";
  if (row.measured <= 0 && tflops && *tflops > 0) {
    const double full = 2.0 * static_cast<double>(work.sequences * work.query_length * work.heads) *
                        static_cast<double>(work.key_length * (work.qk_dim + work.v_dim));
    row.measured = full * (backward ? 2.5 : 1.0) / (*tflops * 1e12);
  }
  row.law = backward ? "attention_backward" : "attention_forward";
  row.predict = [work](const CostModel& model) { return model.attention(0, work).time.value(); };
  return {};
}

}  // namespace

Result<Measurement> read_gemm_row(const CsvReader& reader, MeasuredClusters& clusters) {
  Measurement row = common_fields(reader);
  MOESIM_ASSIGN(const std::optional<double> time, reader.number("time_us"));
  row.measured = time.value_or(0) * 1e-6;
  row.view = clusters.single_device(row.hardware, row.skipped);
  const std::string kind(reader.text("kind"));
  const Result<DType> type = row_format(reader);
  row.law = kind;
  if (!type) {
    row.skipped = fmt::format("number format '{}'", reader.text("dtype"));
  } else if (kind == "gemm") {
    MOESIM_TRY(read_gemm(reader, *type, row));
  } else if (kind == "grouped_gemm") {
    MOESIM_TRY(read_grouped(reader, *type, row));
  } else if (kind == "attention_fwd" || kind == "attention_bwd") {
    MOESIM_TRY(read_attention(reader, *type, kind == "attention_bwd", row));
  } else {
    row.skipped = fmt::format("kernels of kind '{}' have no law", kind);
  }
  if (row.skipped.empty() && row.measured <= 0) row.skipped = "no time given";
  return row;
}

}  // namespace moesim
