// What each layer costs at least, for one way of cutting it: the material of the bounds.
//
// A layer is lowered and priced exactly as the whole step is (sim/lower, sim/engine), alone. Its *span* is the time from the
// start of its first compute operation to the end of its last when nothing else runs; its *busy* time is the compute stream's
// work. Compute streams run in order, so the spans of consecutive layers and passes never overlap: their sum is a lower
// bound of the replay. Communication that waits for no computation of the layer counts as done beforehand.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/error.hpp"
#include "models/cost/cost_model.hpp"
#include "sim/plan/plan.hpp"
#include "sim/program/routed_loads.hpp"

namespace moesim {

struct PassTimes {  // seconds
  double forward = 0;          // spans
  double backward = 0;         // input and weight gradients together
  double backward_input = 0;
  double backward_weight = 0;
  double forward_busy = 0;
  double backward_busy = 0;
  double forward_exchange = 0;  // expert dispatch and combine
  double backward_exchange = 0;
  // Recomputation at the start of the backward pass that need not wait for the gradient from the next layer.
  double backward_head_start = 0;
  std::int64_t saved_bytes = 0;         // kept from forward to backward
  std::int64_t saved_for_weight = 0;    // part of it that the weight gradients still need
  // Highest memory of its backward pass above what it found saved, at least.
  std::int64_t backward_working = 0;

  PassTimes& operator+=(const PassTimes& other);
};

struct PartParameters {  // this rank's share, elements
  std::int64_t dense = 0;
  std::int64_t expert = 0;
  std::int64_t weight_bytes_dense = 0;  // resident weights, FP8 copies included
  std::int64_t weight_bytes_expert = 0;
  PartParameters& operator+=(const PartParameters& other);
};

constexpr int kRecomputes = 3;

class LayerTable {
 public:
  // `plan` gives the cut (tp, cp, ep, esp, micro-batch) and the stage size (pp); its recompute is ignored: all are tabled.
  [[nodiscard]] static Result<LayerTable> make(const Plan& plan, const ModelShape& model, const CostModel& costs,
                                               std::shared_ptr<const RoutedLoads> loads);

  [[nodiscard]] const PassTimes& layer(Recompute recompute, int index) const {
    return layers_[static_cast<std::size_t>(recompute)][static_cast<std::size_t>(index)];
  }
  [[nodiscard]] const PassTimes& embedding(Recompute recompute) const { return embedding_[static_cast<std::size_t>(recompute)]; }
  [[nodiscard]] const PassTimes& head(Recompute recompute) const { return head_[static_cast<std::size_t>(recompute)]; }
  [[nodiscard]] const PartParameters& layer_parameters(int index) const { return parameters_[static_cast<std::size_t>(index)]; }
  [[nodiscard]] const PartParameters& embedding_parameters() const { return embedding_parameters_; }
  [[nodiscard]] const PartParameters& head_parameters() const { return head_parameters_; }
  [[nodiscard]] const std::shared_ptr<const RoutedLoads>& loads() const { return loads_; }

 private:
  std::array<std::vector<PassTimes>, kRecomputes> layers_;
  std::array<PassTimes, kRecomputes> embedding_;
  std::array<PassTimes, kRecomputes> head_;
  std::vector<PartParameters> parameters_;
  PartParameters embedding_parameters_;
  PartParameters head_parameters_;
  std::shared_ptr<const RoutedLoads> loads_;
};

}  // namespace moesim
