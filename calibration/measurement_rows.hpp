// One reader per file format, and what they share. Internal to calibration.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "calibration/measurement.hpp"

namespace moesim {

// The preset clusters that rows name, compiled once each.
class MeasuredClusters {
 public:
  // A cluster of `nodes` nodes of the named hardware; null and `why` when no preset has it. `fabric` (may be
  // empty) prefers a preset whose network carries that word.
  [[nodiscard]] std::shared_ptr<const ClusterView> find(std::string_view hardware, std::string_view fabric, int nodes,
                                                        std::string& why);
  // One such device by itself, from the catalogue.
  [[nodiscard]] std::shared_ptr<const ClusterView> single_device(std::string_view hardware, std::string& why);

 private:
  std::map<std::string, std::shared_ptr<const ClusterView>> compiled_;
};

// Id, source, hardware, quality.
[[nodiscard]] Measurement common_fields(const CsvReader& reader);

// The row under the reader.
[[nodiscard]] Result<Measurement> read_gemm_row(const CsvReader& reader, MeasuredClusters& clusters);
[[nodiscard]] Result<Measurement> read_collective_row(const CsvReader& reader, MeasuredClusters& clusters);
[[nodiscard]] Result<Measurement> read_moe_layer_row(const CsvReader& reader, MeasuredClusters& clusters);

}  // namespace moesim
