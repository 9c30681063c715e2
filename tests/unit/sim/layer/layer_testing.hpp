// Layers and clusters for the tests of one layer and of grids.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "calibration/profile.hpp"
#include "models/cluster/cluster_source.hpp"
#include "sim/layer/one_layer.hpp"
#include "sim/layer/play_layer.hpp"

namespace moesim {

// The testbed of the FSMoE paper with its constants.
struct Testbed {
  std::unique_ptr<const ClusterView> view;
  std::unique_ptr<const CostModel> costs;
};
inline Testbed testbed(int nodes) {
  Testbed bed;
  bed.view = std::make_unique<const ClusterView>(compile(load_cluster("preset:rtx2080ti", nodes).value()).value());
  std::vector<Profile> profiles;
  for (const EmbeddedFile& file : published_profile_files())
    profiles.push_back(parse_profile(file.content, std::string(file.name)).value());
  bed.costs = std::make_unique<const CostModel>(make_cost_model(*bed.view, profiles));
  return bed;
}

// 2 sequences of 512 tokens of width 1024, one expert of width 2048 on each EP rank, top-2, in FP32.
inline Plan layer_plan(int world, int tp, int esp) {
  Plan plan;
  plan.layout.sizes.tp = tp;
  plan.layout.sizes.esp = esp;
  plan.layout.sizes.ep = world / esp;
  plan.layout.sizes.dp = world / tp;
  plan.micro_batch = 2;
  plan.seq_length = 512;
  plan.precision = "fp32";
  plan.zero_dense = plan.zero_expert = ZeroStage::kNone;
  return plan;
}
inline MoeShape layer_experts(int experts) {
  return MoeShape{.experts = experts, .top_k = 2, .expert = {.width = 2048, .gated = false}, .shared = {}};
}
inline LayerCase layer_case(const Plan& plan) {
  auto layer = make_layer_case(one_layer_model(1024, layer_experts(plan.sizes().ep)), plan, {});
  EXPECT_TRUE(layer.has_value()) << (layer ? std::string() : layer.error().what);
  return layer ? std::move(*layer) : LayerCase{};
}
inline LayerResult played_layer(const LayerCase& layer, std::string_view schedule, const CostModel& costs,
                                const LayerOptions& options = {}) {
  auto program = lower_layer(layer, schedule, options);
  EXPECT_TRUE(program.has_value()) << (program ? std::string() : program.error().what);
  if (!program) return {};
  auto result = play_layer(*program, costs);
  EXPECT_TRUE(result.has_value()) << (result ? std::string() : result.error().what);
  return result ? std::move(*result) : LayerResult{};
}

}  // namespace moesim
