// From the number of a point to its row: a pure function, the same on every thread, process and host.
//
// Models, clusters, their cost models and traces are loaded once, when the evaluator is made: what cannot be read is an
// error before any point has been worked on, and evaluate() shares them without locks.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "models/cluster/cluster_view.hpp"
#include "models/cost/cost_model.hpp"
#include "models/shape/model_shape.hpp"
#include "sim/sweep/row.hpp"
#include "sim/sweep/spec.hpp"
#include "traces/remap.hpp"

namespace moesim {

class SweepEvaluator {
 public:
  // `spec` must have passed check().
  [[nodiscard]] static Result<SweepEvaluator> create(SweepSpec spec);

  [[nodiscard]] const SweepSpec& spec() const { return spec_; }
  [[nodiscard]] SweepRow evaluate(std::int64_t point) const;  // thread-safe
  // A hash of the sweep and of the files it reads: two evaluators with the same one give the same rows, in the same
  // version of the program.
  [[nodiscard]] const std::string& fingerprint() const { return fingerprint_; }

 private:
  struct Cluster {
    explicit Cluster(ClusterView compiled);
    ClusterView view;
    CostModel costs;  // refers to view
  };
  struct Trace {
    LoadMapper loads;
    TraceOrigin origin;
  };

  explicit SweepEvaluator(SweepSpec spec) : spec_(std::move(spec)) {}
  [[nodiscard]] Status load();
  [[nodiscard]] PointOutcome outcome(const PlanFile& file, const Cluster& cluster, const Trace* trace) const;

  SweepSpec spec_;
  std::string fingerprint_;
  std::map<std::string, ModelShape> models_;
  std::map<std::pair<std::string, int>, std::unique_ptr<const Cluster>> clusters_;
  std::map<std::string, Trace> traces_;
};

}  // namespace moesim
