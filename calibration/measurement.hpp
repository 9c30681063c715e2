// Published measurements as questions to the cost laws: one row of a validation file, what was measured, and
// a function that predicts it. `moesim validate` compares the two; the fits choose parameters that bring them
// together.
//
// Formats, told apart by their columns: GEMM and attention (kind, m, n, k, seq_q, ...), collectives (op,
// n_gpus, size_bytes, time_us) and MoE-layer components (component, tokens_per_rank, ...). Rows that the laws
// cannot express stay in the list with the reason.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/csv.hpp"
#include "base/error.hpp"
#include "models/cluster/cluster_view.hpp"
#include "models/cost/cost_model.hpp"

namespace moesim {

enum class MeasurementFormat : std::uint8_t { kUnknown, kGemm, kCollectives, kMoeLayer };
[[nodiscard]] MeasurementFormat measurement_format(const CsvReader& reader);

struct Measurement {
  std::string id;
  std::string source;    // whose measurement
  std::string hardware;  // as the file spells it
  std::string quality;   // "A", "B", "C"
  std::string variant;   // algorithm, implementation or library, as the file spells it
  std::string law;       // "gemm", "grouped_gemm", "attention", "all_reduce", ...
  std::string metric;    // "time_s"
  double measured = 0;
  std::optional<GroupShape> group;          // of a collective
  std::string skipped;                      // why there is no prediction; empty: there is one
  std::shared_ptr<const ClusterView> view;  // where it ran
  // The metric's value; `model` must be one of `view`.
  std::function<double(const CostModel& model)> predict;
};

// All rows of a file of a known format.
[[nodiscard]] Result<std::vector<Measurement>> read_measurements(const std::string& path);
[[nodiscard]] Result<std::vector<Measurement>> read_measurements(CsvReader& reader);

}  // namespace moesim
