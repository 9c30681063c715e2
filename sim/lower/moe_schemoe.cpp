// ScheMoE (EuroSys 2024): seven tasks of each of r chunks of copies, compress, exchange, decompress, experts and the same three on
// the way back. Its order, which section 4 of the paper proves the best for one device and one network:
//   device:   all first compressions; for each chunk decompress, experts, compress; all last decompressions
//   network:  D1 ... Dr, C1 ... Cr, each as soon as it can
// Exchanges by the algorithm that belongs to it are the plan's all_to_all "pipe". Rows are compressed where the plan names a format for
// the wire; without one the order is pipemoe's.
#include "sim/lower/moe_schemoe.hpp"

#include "sim/lower/moe_megatron_a2a.hpp"
#include "sim/lower/moe_pipemoe.hpp"

namespace moesim {
namespace {

class ScheMoe final : public MoeSchedule {
 public:
  std::string_view name() const override { return "schemoe"; }
  std::string_view description() const override {
    return "ScheMoE: chunks of copies, compressed on the wire, in the best order of their tasks (EuroSys 2024)";
  }
  Status check(const Plan& plan, const MoeShape& shape) const override {
    if (plan.sizes().esp > 1)
      return usage_error("schemoe orders tasks of one exchange and whole experts, and knows no shards of experts",
                         "set esp to 1, or take fsmoe");
    return megatron_a2a().check(plan, shape);
  }
  std::vector<int> degrees(const Plan& plan) const override { return pipemoe().degrees(plan); }
  std::string_view same_as(const Plan& plan, const MoeShape&) const override {
    if (is_in_one_piece(*this, plan)) return megatron_a2a().name();
    return compresses_rows(plan) ? std::string_view{} : pipemoe().name();
  }

  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    if (b.degree() == 1) return megatron_a2a().forward(b, x);
    const TensorId gate = b.gate(x);
    std::vector<PackedTokens> out;
    for (const RoutedTokens& piece : b.cut(b.permute(x, gate), CutBy::kShare, b.degree()))
      out.push_back(b.depart(piece, OpKind::kDispatch, GroupKind::kEp));
    const std::vector<PackedTokens> back = b.experts_under_way(out, GroupKind::kEp);
    std::vector<TensorId> results;
    for (const PackedTokens& arriving : back) results.push_back(b.arrive(arriving).tokens);
    return b.add_shared_experts(b.unpermute(b.join(results), gate), x);
  }
};

}  // namespace

const MoeSchedule& schemoe() {
  static const ScheMoe schedule;
  return schedule;
}

}  // namespace moesim
