// From a published row to the inputs of a simulation: the model, the cluster and the plan that it describes. Whatever is
// not published is derived where only one value fits, assumed where the practice of the framework fixes it (each
// assumption leaves a note), and otherwise the reason why the row cannot be predicted is the result.
//
// Model     attention text: "GQA", "MHA", "MLA q_lora1536 kv_lora512 rope64", "alternating sliding window 128" (the first
//           layer slides, as in gpt-oss); head_dim "128" or "qk192/v128"; GELU and FastMoE FFNs have two matrices, others
//           three; the first dense_layers layers have no experts.
// Cluster   the first preset with the named device; where none has it, the preset of the device of the same architecture
//           whose name shares the longest beginning, with the device exchanged. NICs as the interconnect text counts them.
// Plan      see row_plan.cpp, which lists the rules in their order.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "calibration/profile.hpp"
#include "models/cost/cost_model.hpp"
#include "models/shape/model_shape.hpp"
#include "sim/plan/plan.hpp"
#include "sim/validate/training_row.hpp"

namespace moesim {

// A value, or why the row has none.
template <class T>
using OrSkipped = tl::expected<T, std::string>;
using SkipReason = std::string;  // empty: all is well
[[nodiscard]] inline tl::unexpected<SkipReason> skipped(SkipReason reason) {
  return tl::unexpected<SkipReason>(std::move(reason));
}
using RowNotes = std::vector<std::string>;

[[nodiscard]] OrSkipped<ModelShape> model_of(const TrainingRow& row, RowNotes& notes);

// The plan, with the recomputation left at none where the row does not say (see recompute_choices).
[[nodiscard]] OrSkipped<Plan> plan_of(const TrainingRow& row, RowNotes& notes);
// What the row says it recomputes; all three, cheapest first, when it says nothing.
[[nodiscard]] std::vector<Recompute> recompute_choices(const TrainingRow& row, RowNotes& notes);

struct RowCluster {
  ClusterView view;
  CostModel costs;  // reads `view`
  RowNotes notes;
  RowCluster(ClusterView cluster, std::span<const Profile> profiles, RowNotes said)
      : view(std::move(cluster)), costs(make_cost_model(view, profiles)), notes(std::move(said)) {}
  RowCluster(const RowCluster&) = delete;
  RowCluster& operator=(const RowCluster&) = delete;
};

// The clusters that rows name, compiled once each.
class RowClusters {
 public:
  explicit RowClusters(std::span<const Profile> profiles) : profiles_(profiles) {}
  [[nodiscard]] OrSkipped<std::shared_ptr<const RowCluster>> find(const TrainingRow& row);

 private:
  using Key = std::tuple<std::string, std::string, std::int64_t, std::int64_t>;
  std::span<const Profile> profiles_;
  std::map<Key, OrSkipped<std::shared_ptr<const RowCluster>>> compiled_;
};

// "8x NDR400 IB": 8 NICs of 400 Gbit/s per node; "IB 400Gb/s per GPU": one per GPU (count 0). No value when the text
// names no rate, or points elsewhere ("see the paper").
struct NicText {
  int count = 0;  // per node; 0: one per GPU
  double gigabits = 0;
};
[[nodiscard]] std::optional<NicText> nics_of(std::string_view interconnect);

}  // namespace moesim
