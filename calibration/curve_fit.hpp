// Observations gathered into the points and curves of models/cost/measured_laws.hpp.
//
// Several observations of one thing count as their median. A curve needs four sizes; fewer tell nothing about its breaks, and
// the law's parameters do better.
#pragma once

#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "calibration/import/observations.hpp"
#include "models/cost/measured_laws.hpp"

namespace moesim {

class CurvePoints {
 public:
  // `shape`: of the collective's group on the cluster; nothing for other work. What has no curve is passed over.
  void add(const Observation& observation, const std::optional<GroupShape>& shape);
  [[nodiscard]] MeasuredLaws fit() const;

 private:
  using Samples = std::map<std::int64_t, std::vector<double>>;  // bytes -> seconds
  using GroupKey = std::tuple<CollectiveKind, int, int, int, int, CollectiveAlgorithm, ExchangeAlgorithm>;
  std::map<std::tuple<DType, std::int64_t, std::int64_t, std::int64_t>, std::vector<double>> gemm_;
  std::vector<AttentionPoint> attention_;
  std::map<std::pair<MemoryKernel, DType>, Samples> memory_;
  std::map<GroupKey, Samples> collectives_;
};

}  // namespace moesim
