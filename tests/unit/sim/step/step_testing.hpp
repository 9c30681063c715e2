// A cluster with its cost model, and priced and replayed programs.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "models/cluster/cluster_source.hpp"
#include "sim/engine/replay_check.hpp"
#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {

// CostModel keeps a reference to the view, so both live together.
class TestCluster {
 public:
  explicit TestCluster(const ClusterSpec& spec)
      : view_(std::make_unique<ClusterView>(compile(spec).value())), costs_(std::make_unique<CostModel>(*view_)) {}
  [[nodiscard]] const CostModel& costs() const { return *costs_; }

 private:
  std::unique_ptr<ClusterView> view_;
  std::unique_ptr<CostModel> costs_;
};

// H100 nodes cut down to `devices` each.
inline ClusterSpec small_nodes(int nodes, int devices) {
  ClusterSpec spec = load_cluster("preset:h100", nodes).value();
  for (auto& group : spec.groups) {
    group.node.devices = devices;
    group.node.nics->count = devices;
  }
  return spec;
}

inline ReplayResult played(const Program& program, const CostModel& costs, Folding folding,
                           const ReplayOptions& options) {
  PriceOptions price_options;
  price_options.folding = folding;
  price_options.most_load_classes = 1 << 20;
  const PricedProgram priced = price(program, costs, price_options);
  const auto fault = replay_program_fault(priced.replay);
  EXPECT_FALSE(fault.has_value()) << *fault;
  ReplayResult result = replay(priced.replay, options);
  EXPECT_TRUE(result.finished);
  return result;
}

inline ReplayOptions without_contention() {
  ReplayOptions options;
  options.contention = false;
  return options;
}

}  // namespace moesim
