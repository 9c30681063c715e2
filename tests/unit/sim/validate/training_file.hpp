// Rows of a training file, written by hand for the tests.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "sim/validate/training_row.hpp"

namespace moesim {

using RowCells = std::map<std::string, std::string>;

inline const std::vector<std::string>& training_columns() {
  static const std::vector<std::string> columns = {"id",
                                                   "source_id",
                                                   "hardware",
                                                   "n_gpus",
                                                   "gpus_per_node",
                                                   "interconnect",
                                                   "framework",
                                                   "model",
                                                   "layers",
                                                   "dense_layers",
                                                   "hidden",
                                                   "ffn_dense",
                                                   "ffn_moe",
                                                   "experts",
                                                   "topk",
                                                   "shared_experts",
                                                   "heads",
                                                   "kv_heads",
                                                   "head_dim",
                                                   "vocab",
                                                   "attention",
                                                   "seq_len",
                                                   "precision",
                                                   "tp",
                                                   "pp",
                                                   "vpp",
                                                   "cp",
                                                   "ep",
                                                   "etp",
                                                   "dp",
                                                   "zero_fsdp",
                                                   "mbs",
                                                   "gbs",
                                                   "ga",
                                                   "recompute",
                                                   "dispatcher",
                                                   "schedule",
                                                   "routing",
                                                   "step_time_s",
                                                   "tokens_per_s_per_gpu",
                                                   "tflops_per_gpu",
                                                   "mfu_pct",
                                                   "peak_mem_gib",
                                                   "derived_fields",
                                                   "quality",
                                                   "caveats",
                                                   "rank_group"};
  return columns;
}

// A small MoE model on two H100 nodes: TP1 PP2 DP8 EP8, 4 micro-batches.
inline RowCells small_row() {
  return {{"id", "R-1"},
          {"source_id", "here"},
          {"hardware", "H100-SXM5-80GB"},
          {"n_gpus", "16"},
          {"gpus_per_node", "8"},
          {"framework", "Megatron-Core"},
          {"model", "small"},
          {"layers", "4"},
          {"dense_layers", "1"},
          {"hidden", "1024"},
          {"ffn_dense", "4096"},
          {"ffn_moe", "512"},
          {"experts", "16"},
          {"topk", "2"},
          {"shared_experts", "1"},
          {"heads", "16"},
          {"kv_heads", "4"},
          {"head_dim", "64"},
          {"vocab", "32000"},
          {"attention", "GQA"},
          {"seq_len", "1024"},
          {"precision", "BF16"},
          {"tp", "1"},
          {"pp", "2"},
          {"ep", "8"},
          {"mbs", "1"},
          {"gbs", "32"},
          {"zero_fsdp", "distributed optimizer (ZeRO-1)"},
          {"recompute", "none"},
          {"routing", "dropless, force-balanced routing"},
          {"step_time_s", "0.05"},
          {"quality", "A"}};
}

// small_row() with some cells changed.
inline RowCells changed(const RowCells& cells) {
  RowCells row = small_row();
  for (const auto& [column, cell] : cells) row[column] = cell;
  return row;
}

inline std::string training_file(const std::vector<RowCells>& rows) {
  std::string text;
  for (const std::string& column : training_columns()) text += (text.empty() ? "" : ",") + column;
  text += "\n";
  for (const RowCells& row : rows) {
    bool first = true;
    for (const std::string& column : training_columns()) {
      if (!first) text += ",";
      first = false;
      if (const auto cell = row.find(column); cell != row.end()) text += "\"" + cell->second + "\"";
    }
    text += "\n";
  }
  return text;
}

inline TrainingRow read_row(const RowCells& cells) {
  Result<CsvReader> reader = CsvReader::from_text(training_file({cells}), "rows.csv");
  EXPECT_TRUE(reader.has_value());
  const Result<bool> more = reader->next();
  EXPECT_TRUE(more.has_value() && *more);
  Result<TrainingRow> row = read_training_row(*reader);
  EXPECT_TRUE(row.has_value());
  return row ? *row : TrainingRow();
}

}  // namespace moesim
