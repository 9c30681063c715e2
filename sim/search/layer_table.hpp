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
#include "sim/search/routing_prices.hpp"
#include "sim/search/span_graph.hpp"

namespace moesim {

struct PassTimes {      // seconds
  double forward = 0;   // spans
  double backward = 0;  // input and weight gradients together
  double backward_input = 0;
  double backward_weight = 0;
  double forward_busy = 0;   // computation alone
  double backward_busy = 0;  // the same, input and weight gradients together
  // Recomputation at the start of the backward pass that need not wait for the gradient from the next layer.
  double backward_head_start = 0;
  std::int64_t saved_bytes = 0;  // kept from forward to backward
  // What the weight gradients still need after the input gradients: part of it, and what these recomputed and made.
  std::int64_t kept_for_weight = 0;
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

// The passes of a layer in detail, for pairs of passes that overlap.
struct PassParts {
  PassPart forward;
  PassPart backward;
  PassPart backward_input;
  PassPart backward_weight;
};

constexpr int kRecomputes = 3;

// Part of any communication time by which computation beside it falls behind: 1 - 1 / slowdown, of the least slowed device; the plan's
// share of compute units where that is less.
[[nodiscard]] double communication_drag(const CostModel& costs, const Plan& plan);

class LayerTable {
 public:
  // `plan` gives the cut (tp, cp, ep, esp, micro-batch) and the stage size (pp); its recompute is ignored: all are tabled.
  // `routing` is shared with other tables, one at a time.
  [[nodiscard]] static Result<LayerTable> make(const Plan& plan, std::shared_ptr<const Layout> layout,
                                               const ModelShape& model, const CostModel& costs, RoutingPrices& routing);

  [[nodiscard]] const PassTimes& layer(Recompute recompute, int index) const {
    return layers_[static_cast<std::size_t>(recompute)][static_cast<std::size_t>(index)];
  }
  [[nodiscard]] const PassTimes& embedding(Recompute recompute) const {
    return embedding_[static_cast<std::size_t>(recompute)];
  }
  [[nodiscard]] const PassTimes& head(Recompute recompute) const { return head_[static_cast<std::size_t>(recompute)]; }
  [[nodiscard]] PassParts layer_parts(Recompute recompute, int index) const {
    return parts(layer_parts_[static_cast<std::size_t>(recompute)][static_cast<std::size_t>(index)]);
  }
  [[nodiscard]] PassParts embedding_parts(Recompute recompute) const {
    return parts(embedding_parts_[static_cast<std::size_t>(recompute)]);
  }
  [[nodiscard]] PassParts head_parts(Recompute recompute) const {
    return parts(head_parts_[static_cast<std::size_t>(recompute)]);
  }
  [[nodiscard]] const PartParameters& layer_parameters(int index) const {
    return parameters_[static_cast<std::size_t>(index)];
  }
  [[nodiscard]] const PartParameters& embedding_parameters() const { return embedding_parameters_; }
  [[nodiscard]] const PartParameters& head_parameters() const { return head_parameters_; }
  [[nodiscard]] const std::shared_ptr<const RoutedLoads>& loads() const { return loads_; }

 private:
  friend class TableMaker;
  // Indices, so that a table can be moved.
  struct StoredPart {
    std::uint32_t graph = 0;
    std::uint32_t seconds = 0;  // its first node's
  };
  struct StoredParts {
    StoredPart forward;
    StoredPart backward;
    StoredPart backward_input;
    StoredPart backward_weight;
  };
  [[nodiscard]] PassPart part(const StoredPart& stored, bool hands_on) const {
    return {&graphs_[stored.graph], seconds_.data() + stored.seconds, hands_on};
  }
  [[nodiscard]] PassParts parts(const StoredParts& stored) const {
    return {part(stored.forward, true), part(stored.backward, true), part(stored.backward_input, true),
            part(stored.backward_weight, false)};
  }

  std::vector<SpanGraph> graphs_;
  std::vector<double> seconds_;
  std::array<std::vector<StoredParts>, kRecomputes> layer_parts_;
  std::array<StoredParts, kRecomputes> embedding_parts_;
  std::array<StoredParts, kRecomputes> head_parts_;
  std::array<std::vector<PassTimes>, kRecomputes> layers_;
  std::array<PassTimes, kRecomputes> embedding_;
  std::array<PassTimes, kRecomputes> head_;
  std::vector<PartParameters> parameters_;
  PartParameters embedding_parameters_;
  PartParameters head_parameters_;
  std::shared_ptr<const RoutedLoads> loads_;
};

}  // namespace moesim
