// Parm's schedule S2 (INFOCOM 2024, arXiv 2407.00599): model parallelism pauses after the gate. The TP ranks gate all tokens of
// their group alike, each takes its share of every expert's copies (MP-Split of the capacity dimension; without padding, of the
// copies that there are), and what came back is gathered as copies, before they are summed into tokens.
//
// Against S1 the gathered rows are k times as many, and the gate's work is not divided; in return the gather runs beside the
// all-to-all piece by piece (SAA), and where few copies are kept it is the smaller one. Parm's kernel takes the blocks of one
// source after the other for pieces; here they are columns, so that each piece goes to all ranks at once and may differ in rows.
#include "sim/lower/moe_parm_s2.hpp"

#include "sim/lower/fused_exchange.hpp"
#include "sim/lower/moe_megatron_a2a.hpp"
#include "sim/lower/moe_parm_s1.hpp"

namespace moesim {
namespace {

class ParmS2 final : public MoeSchedule {
 public:
  std::string_view name() const override { return "parm-s2"; }
  std::string_view description() const override {
    return "Parm S2 with SAA: TP ranks gate alike, send shares, gather results beside the exchange (arXiv 2407.00599)";
  }
  Status check(const Plan&, const MoeShape&) const override { return {}; }
  CopyDivision division(const Plan&) const override { return CopyDivision::kShareOfEachExpert; }
  std::vector<int> degrees(const Plan& plan) const override {
    return plan.sizes().tp > 1 && plan.sizes().ep * plan.sizes().esp > 1 ? std::vector<int>{4, 2, 1}
                                                                         : std::vector<int>{1};
  }
  // With one rank to a group there is nothing to share out.
  std::string_view same_as(const Plan& plan, const MoeShape&) const override {
    if (plan.sizes().tp > 1) return {};
    return plan.sizes().esp == 1 ? megatron_a2a().name() : parm_s1().name();
  }

  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    const TensorId all = b.group_tokens(x);
    const TensorId gate = b.gate(all);
    RoutedTokens routed = b.permute(all, gate);
    const ParallelSizes& sizes = b.plan().sizes();
    TensorId copies;
    if (sizes.tp == 1 || sizes.ep * sizes.esp == 1) {
      copies = b.gather_shares(fused_exchange(b, b.share_out(routed)));
    } else {
      routed = b.dispatch_shares(routed);
      const bool mixed = b.local_experts() > 1;
      if (mixed) routed = b.sort_by_expert(routed);
      TensorId computed = b.experts(routed);
      if (mixed) computed = b.sort_by_source(computed);
      copies = b.combine_shares(computed);
    }
    const TensorId y = b.unpermute(copies, gate);
    return b.add_shared_experts(b.return_group_tokens(y), x);
  }
};

}  // namespace

const MoeSchedule& parm_s2() {
  static const ParmS2 schedule;
  return schedule;
}

}  // namespace moesim
