// One MoE layer by itself, as a Program: its gate, its exchanges and its experts, no attention, norm or residual.
//
// The layer is lowered by the schedule's own forward(), its backward pass derived, and both are read by the same pricing, replay
// and memory walk as a whole step (play_layer.hpp). The program has one chunk, one stage and two calls, forward and backward;
// the backward pass begins when everything of the forward pass has ended, as it does where other layers stand between the two.
//
// What lies around the layer (LayerBoundary):
//   kWhole   every TP rank holds all tokens before and after, the accounting of the DeepSpeed-MoE and Parm papers. A schedule
//            that works on replicated tokens is lowered so. One that needs sequence parallelism takes its slice of them, which is
//            a view, and an all-gather over TP makes its result whole again (Parm S1's MP-Split and MP-AllGather); backwards the
//            slice of the gradient is a view as well, and the gradient of the input is gathered.
//   kSliced  every TP rank holds its own tokens, the accounting of sequence parallelism: the gathers are the attention's.
// Example, TP 4, 1024 tokens of width 1024 in FP32, whole: Parm S1 adds one gather of 4 MiB to each pass.
#pragma once

#include <array>
#include <memory>
#include <string_view>

#include "base/error.hpp"
#include "models/cluster/cluster_view.hpp"
#include "sim/program/program.hpp"
#include "traces/remap.hpp"

namespace moesim {

enum class LayerBoundary : std::uint8_t { kWhole, kSliced };
enum class LayerGradients : std::uint8_t {
  kExcluded,
  kReduced,  // over the data-parallel groups, in buckets, during the backward pass
};
enum class LayerPasses : std::uint8_t { kForward, kForwardAndBackward };

struct LayerOptions {
  LayerBoundary boundary = LayerBoundary::kWhole;
  LayerGradients gradients = LayerGradients::kExcluded;
  LayerPasses passes = LayerPasses::kForwardAndBackward;
};

// A model of one layer: that of another model, or of plain sizes (hidden width and experts; it has no attention).
[[nodiscard]] ModelShape one_layer_model(const ModelShape& model, LayerId layer);
[[nodiscard]] ModelShape one_layer_model(std::int64_t hidden, const MoeShape& moe);

// What is asked of one layer, whatever the schedule: sizes, tokens, capacity and precision of the plan, what the gate chose.
struct LayerCase {
  ModelShape model;  // of one layer
  Plan plan;  // pp is 1; moe_schedule, moe_degree and sequence_parallel are those of each schedule, and ep_on_node
              // is for those that ask for it
  std::shared_ptr<const Layout> layout;
  std::shared_ptr<const RoutedLoads> loads;  // of the tokens that are a rank's own when its TP group shares them out
};

// Where the loads of a layer come from.
struct LayerRouting {
  const LoadMapper* trace = nullptr;  // null: balanced
  int moe_layers = 1;                 // of the model that the trace is mapped to,
  int moe_layer = 0;                  // and which of them this one is
};

// Checks the plan against layer and cluster (an error says what does not divide) and prepares what schedules share. `layout`
// may be given where it is at hand; else it is made.
[[nodiscard]] Result<LayerCase> make_layer_case(ModelShape model, Plan plan, const LayerRouting& routing,
                                                std::shared_ptr<const Layout> layout = nullptr);

// The plan under which this schedule runs: on whole tokens where the boundary has them and the schedule takes them. The error
// is the schedule's reason why it cannot run the layer.
[[nodiscard]] Result<Plan> plan_of_schedule(const LayerCase& layer, std::string_view schedule, LayerBoundary boundary);

// Under a plan that plan_of_schedule() gave, perhaps in another number of pieces (MoeSchedule::degrees).
[[nodiscard]] Result<Program> lower_layer(const LayerCase& layer, const Plan& plan, const LayerOptions& options);
[[nodiscard]] Result<Program> lower_layer(const LayerCase& layer, std::string_view schedule,
                                          const LayerOptions& options);

}  // namespace moesim
