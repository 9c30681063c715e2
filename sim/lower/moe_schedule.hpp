// The seam for MoE-layer schedules (DeepSpeed-MoE, Parm, FasterMoE, ...): one file each, listed in moe_schedules.cpp.
//
// Contract: forward() turns the normed input of a MoE block, [tokens / TP, hidden] on each rank, into the block's output
// of the same shape (no residual), by calls of MoeLayerBuilder. It describes the forward pass only; the backward pass is
// derived. It must send every routed token copy to its expert once and bring every result back once; the conservation
// tests hold every listed schedule to that. It is called once more where the backward pass has another number of pieces: operations
// on the same thing have one name in every number of them (ChunkBuilder::Pattern).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "sim/lower/moe_layer_builder.hpp"
#include "sim/program/copy_division.hpp"

namespace moesim {

class MoeSchedule {
 public:
  virtual ~MoeSchedule() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;         // as in Plan::moe_schedule
  [[nodiscard]] virtual std::string_view description() const = 0;  // one line, with the source
  // Whether the schedule can run this layer under this plan.
  [[nodiscard]] virtual Status check(const Plan& plan, const MoeShape& shape) const = 0;
  // Which copies each rank gates and sends under this plan; forward() must send these.
  [[nodiscard]] virtual CopyDivision division(const Plan&) const { return CopyDivision::kOwnTokens; }
  // The name of a schedule whose program is the same under this plan, so that a search looks at one of them; empty: none.
  [[nodiscard]] virtual std::string_view same_as(const Plan&, const MoeShape&) const { return {}; }
  // Into how many pieces it can cut copies under this plan, what it does unless the plan says otherwise first. A search tries
  // them all; forward() finds the number in MoeLayerBuilder::degree().
  [[nodiscard]] virtual std::vector<int> degrees(const Plan&) const { return {1}; }
  // How many experts of each layer it shadows: their weights go to all ranks of the EP group, and each computes its own copies for
  // them (row_piece.hpp). Which ones the loads say (with_shadows); forward() finds the number in MoeLayerBuilder::shadows().
  [[nodiscard]] virtual int shadows(const Plan&, const MoeShape&) const { return 0; }
  // Whether tokens travel once for every rank, or for every node and then every rank of it, that they visit (visit_table.hpp). Then
  // `rank` and its like set ParallelSizes::ep_on_node to the EP members that stand on a node.
  [[nodiscard]] virtual bool visits() const { return false; }
  // Whether each rank decides for its own copies, by counts, to which slot of an expert they go (layer_slots.hpp).
  [[nodiscard]] virtual bool deals_copies() const { return !visits(); }
  // What a reader of figures of this plan, or who executes it, should know of the schedule; one line each.
  [[nodiscard]] virtual std::vector<std::string> notes(const Plan&) const { return {}; }
  [[nodiscard]] virtual std::vector<std::string> notes_of_execution(const Plan&) const { return {}; }
  [[nodiscard]] virtual TensorId forward(MoeLayerBuilder& builder, TensorId x) const = 0;
};

[[nodiscard]] std::span<const MoeSchedule* const> moe_schedules();
// For programs that bring a schedule of their own, which outlives its use: it stands at the end of the list from then on. Before
// threads are started and before anybody holds the list.
void add_moe_schedule(const MoeSchedule& schedule);
// Whether it can run the layer, and in as many pieces as the plan says. Errors are those of a plan: invalid input.
[[nodiscard]] Status check_moe_schedule(const MoeSchedule& schedule, const Plan& plan, const MoeShape& shape);
// The plan's number of pieces, or the schedule's own.
[[nodiscard]] int moe_degree(const MoeSchedule& schedule, const Plan& plan);
// The same in the backward pass.
[[nodiscard]] int moe_backward_degree(const MoeSchedule& schedule, const Plan& plan);
[[nodiscard]] bool is_in_one_piece(const MoeSchedule& schedule, const Plan& plan);  // both passes
// Whether figures of the plan rest on estimated visits (kVisitsNote).
[[nodiscard]] bool visits_are_estimated(const Plan& plan);
// What each rank sends and computes itself under the schedule, of what its own tokens choose.
[[nodiscard]] std::shared_ptr<const RoutedLoads> loads_of_schedule(const MoeSchedule& schedule,
                                                                   std::shared_ptr<const RoutedLoads> own,
                                                                   const Plan& plan, const ModelShape& model,
                                                                   const Layout& layout);
// By a name of the command line, and by a plan's: what is wrong with that is invalid input.
[[nodiscard]] Result<const MoeSchedule*> find_moe_schedule(std::string_view name);
[[nodiscard]] Result<const MoeSchedule*> moe_schedule_of(const Plan& plan);

}  // namespace moesim
