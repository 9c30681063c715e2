// FastMoE (arXiv 2103.13262): experts spread over all ranks, no capacity by default, nothing overlapped: exchange of counts, scatter of
// the copies, one batch of rows for each expert, gather. That is the order of megatron-a2a without shards of experts. The exchange of
// counts begins every dropless dispatch (moeexec runs it with the first exchange of a layer); being a few kilobytes it is priced for
// no schedule.
#include "sim/lower/moe_fastmoe.hpp"

#include "sim/lower/moe_megatron_a2a.hpp"

namespace moesim {
namespace {

class FastMoe final : public MoeSchedule {
 public:
  std::string_view name() const override { return "fastmoe"; }
  std::string_view description() const override {
    return "FastMoE: scatter, experts and gather one after the other, dropless (arXiv 2103.13262)";
  }
  Status check(const Plan& plan, const MoeShape& shape) const override {
    if (plan.sizes().esp > 1) return usage_error("fastmoe knows no shards of experts", "set esp to 1");
    return megatron_a2a().check(plan, shape);
  }
  std::string_view same_as(const Plan&, const MoeShape&) const override { return megatron_a2a().name(); }
  TensorId forward(MoeLayerBuilder& b, TensorId x) const override { return megatron_a2a().forward(b, x); }
};

}  // namespace

const MoeSchedule& fastmoe() {
  static const FastMoe schedule;
  return schedule;
}

}  // namespace moesim
