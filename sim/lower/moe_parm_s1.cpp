// Parm's schedule S1 (INFOCOM 2024, arXiv 2407.00599): model parallelism pauses before the gate, so that each of its ranks
// gates and sends its own share of the tokens, and one all-to-all over all ranks of EP x ESP stands for an all-to-all over EP
// and an all-gather over ESP. The source makes a copy for every shard of an expert; what the shards made of it, partial sums,
// comes back the same way and is added up at the source.
//
// With sequence parallelism the tokens are cut between the TP ranks before the layer and after it, so the schedule needs no
// split (MP-Split) and no all-gather (MP-AllGather) of its own; without, these are the first and the last operation. Per rank and direction it sends ESP * k * tokens / TP rows; the dispatcher of
// Megatron-Core sends k * tokens / TP over EP, then ESP times that over the links of a node.
#include "sim/lower/moe_parm_s1.hpp"

#include "sim/lower/fused_exchange.hpp"
#include "sim/lower/moe_megatron_a2a.hpp"

namespace moesim {
namespace {

class ParmS1 final : public MoeSchedule {
 public:
  std::string_view name() const override { return "parm-s1"; }
  std::string_view description() const override {
    return "Parm S1: one all-to-all over EP and ESP together, replicas summed at the source (arXiv 2407.00599)";
  }
  Status check(const Plan&, const MoeShape&) const override { return {}; }
  // Without shards there is nothing to fuse.
  std::string_view same_as(const Plan& plan, const MoeShape&) const override {
    const bool alike = plan.sizes().tp == 1 || plan.sequence_parallel;
    return plan.sizes().esp == 1 && alike ? megatron_a2a().name() : std::string_view{};
  }

  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    const TensorId own = b.own_tokens(x);
    const TensorId gate = b.gate(own);
    const TensorId computed = fused_exchange(b, b.permute(own, gate));
    return b.add_shared_experts(b.return_own_tokens(b.unpermute(computed, gate)), x);
  }
};

}  // namespace

const MoeSchedule& parm_s1() {
  static const ParmS1 schedule;
  return schedule;
}

}  // namespace moesim
