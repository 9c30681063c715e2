// Parm's schedule S1 (INFOCOM 2024, arXiv 2407.00599): model parallelism pauses before the gate, so that each of its ranks
// gates and sends its own share of the tokens, and one all-to-all over all ranks of EP x ESP stands for an all-to-all over EP
// and an all-gather over ESP. The source makes a copy for every shard of an expert; what the shards made of it, partial sums,
// comes back the same way and is added up at the source.
//
// With sequence parallelism the tokens are cut between the TP ranks before the layer and after it, so the schedule needs no
// split and no all-gather of its own. Per rank and direction it sends ESP * k * tokens / TP rows; the dispatcher of
// Megatron-Core sends k * tokens / TP over EP, then ESP times that over the links of a node.
#include "sim/lower/moe_parm_s1.hpp"

#include "sim/lower/moe_megatron_a2a.hpp"

namespace moesim {
namespace {

class ParmS1 final : public MoeSchedule {
 public:
  std::string_view name() const override { return "parm-s1"; }
  std::string_view description() const override {
    return "Parm S1: one all-to-all over EP and ESP together, replicas summed at the source (arXiv 2407.00599)";
  }
  Status check(const Plan& plan, const MoeShape&) const override {
    if (plan.sizes().tp > 1 && !plan.sequence_parallel)
      return usage_error("Parm S1 needs sequence parallelism when tp > 1: each TP rank sends tokens of its own",
                         "set \"sequence_parallel\": true");
    return {};
  }
  // Without shards there is nothing to fuse.
  std::string_view same_as(const Plan& plan) const override {
    return plan.sizes().esp == 1 ? megatron_a2a().name() : std::string_view{};
  }

  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    const ParallelSizes& sizes = b.plan().sizes();
    const bool shards = sizes.esp > 1;
    const GroupKind group = shards ? GroupKind::kEpEsp : GroupKind::kEp;
    const bool moves = shards || sizes.ep > 1;
    const TensorId gate = b.gate(x);
    RoutedTokens routed = b.permute(x, gate);
    if (shards) routed = b.replicate(routed);
    if (moves) routed = b.dispatch(routed, group);
    const bool mixed = moves && b.local_experts() > 1;
    if (mixed) routed = b.sort_by_expert(routed);
    TensorId computed = b.experts(routed);
    if (mixed) computed = b.sort_by_source(computed);
    if (moves) computed = b.combine(computed, group);
    if (shards) computed = b.sum_replicas(computed);
    return b.add_shared_experts(b.unpermute(computed, gate), x);
  }
};

}  // namespace

const MoeSchedule& parm_s1() {
  static const ParmS1 schedule;
  return schedule;
}

}  // namespace moesim
