// Tutel's adaptive pipelining (MLSys 2023, sections 4.2 and 4.3) with experts that are cut: every token copy is repeated for each of
// the r shards of its expert, one all-to-all over all ranks takes the copies out, one brings what the shards made of them back, and
// r of them are summed where they came from; all of that in pieces of the copies, so that one is exchanged while another is
// computed. r is the layout's ESP; with EDP beside it and ZeRO 3 for experts, whose weights are gathered before they are used, it
// is the paper's range from data parallelism to EP+MP (docs/schedules.md).
//
// In one piece it is Parm's S1, without shards two-way pipelining over EP.
#include "sim/lower/moe_tutel.hpp"

#include "sim/lower/fused_exchange.hpp"
#include "sim/lower/moe_parm_s1.hpp"
#include "sim/lower/moe_pipemoe.hpp"

namespace moesim {
namespace {

class Tutel final : public MoeSchedule {
 public:
  std::string_view name() const override { return "tutel"; }
  std::string_view description() const override {
    return "Tutel: copies for every shard in pieces, one exchanged over all ranks while another is computed (MLSys "
           "2023)";
  }
  Status check(const Plan&, const MoeShape&) const override { return {}; }
  std::vector<int> degrees(const Plan& plan) const override {
    return plan.sizes().ep * plan.sizes().esp > 1 ? std::vector<int>{2, 4, 8, 1} : std::vector<int>{1};
  }
  std::string_view same_as(const Plan& plan, const MoeShape&) const override {
    if (is_in_one_piece(*this, plan)) return parm_s1().name();
    const bool alike = plan.sizes().tp == 1 || plan.sequence_parallel;
    return plan.sizes().esp == 1 && alike ? pipemoe().name() : std::string_view{};
  }

  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    if (b.degree() == 1) return parm_s1().forward(b, x);
    const ParallelSizes& sizes = b.plan().sizes();
    const bool shards = sizes.esp > 1;
    const GroupKind group = shards ? GroupKind::kEpEsp : GroupKind::kEp;
    const TensorId own = b.own_tokens(x);
    const TensorId gate = b.gate(own);
    std::vector<RoutedTokens> pieces = b.cut(b.permute(own, gate), CutBy::kShare, b.degree());
    for (RoutedTokens& piece : pieces) piece = b.dispatch(shards ? b.replicate(piece) : piece, group);
    std::vector<TensorId> results;
    for (const RoutedTokens& piece : pieces) results.push_back(b.combine(b.experts_of_arrived(piece), group));
    if (shards)
      for (TensorId& result : results) result = b.sum_replicas(result);
    const TensorId y = b.unpermute(b.join(results), gate);
    return b.add_shared_experts(b.return_own_tokens(y), x);
  }
};

}  // namespace

const MoeSchedule& tutel() {
  static const Tutel schedule;
  return schedule;
}

}  // namespace moesim
