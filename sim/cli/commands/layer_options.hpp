// What `moesim layer` is asked: a layer of a model or of plain sizes, on a cluster, under a layout.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "sim/cli/scenario.hpp"
#include "sim/cli/space_options.hpp"
#include "sim/layer/one_layer.hpp"

namespace moesim {

struct LayerRequest {
  ScenarioSources sources;
  int layer = -1;  // of the model; -1: its first MoE layer
  // Plain sizes, where no model is named; 0: not given. --top-k is among the sources, where it also says how a trace is read.
  std::int64_t hidden = 0;
  std::int64_t expert_width = 0;
  std::int64_t experts = 0;
  bool gated = false;
  std::int64_t batch = 1;
  std::int64_t seq = 4096;
  double capacity_factor = 0;
  std::string precision = "bf16";
  int tp = 1;
  int esp = 1;
  int ep = 0;  // 0: as many as experts and ranks allow
  std::string boundary = "whole";
  bool forward_only = false;
  bool reduce_gradients = false;
  std::string all_to_all = "linear";  // algorithm of the token exchange
  WireOptions wire;
  std::string baseline;  // a schedule; empty: the first that can run the layer
  std::string plot;      // a figure; empty: none
  std::string figures;   // a folder for a figure of each schedule; empty: none
  std::string grid;      // empty: one layer
  int jobs = 0;          // of a grid; 0: as many as cores

  [[nodiscard]] LayerOptions options() const;
  // Whether anything is given that a grid says itself.
  [[nodiscard]] bool names_a_layer() const;
};

void add_layer_options(CLI::App& command, Session& session, LayerRequest& request);

struct LayerScenario {
  Scenario scenario;
  ModelShape model;  // of one layer
  int moe_layers = 1;
  int moe_layer = 0;  // which MoE layer of the model it is
};
[[nodiscard]] Result<LayerScenario> load_layer_scenario(const LayerRequest& request);
[[nodiscard]] Result<LayerCase> layer_case_of(const LayerRequest& request, const LayerScenario& scenario);

// "4 x 1024 tokens of 1600, 8 experts of 6400, top-2; TP 4, EP 8, ESP 4 on 32 ranks"
[[nodiscard]] std::string layer_text(const LayerCase& layer);
// What is counted into the layer.
[[nodiscard]] std::string boundary_note(const LayerCase& layer, const LayerOptions& options);

}  // namespace moesim
