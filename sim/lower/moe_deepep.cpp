// DeepSeek-V3's dispatch (arXiv 2412.19437, section 3.2.2) as its library DeepEP has it: a token goes once to every node and there
// once to every rank that it visits, with what its gate chose, instead of once for every expert. Whoever receives it makes the
// copies for its own experts and sends back one row, the sum of what they made of the token; relays add up the rows of their node.
//
// Between nodes tokens travel among the ranks with the same place on their nodes, and from there over the links inside the node.
// DeepEP's kernels forward chunk after chunk from one network to the other; here the pieces are columns (MoeLayerBuilder::visit).
//
// Rows per token, all experts chosen equally often: DeepSeek-V3 has 256 experts in 8 groups, one for each of the 8 nodes of EP 64,
// and takes 8 experts of 4 groups. A copy for each expert makes 8 rows, 7 of them for other nodes. A token visits 3.6 nodes and
// 7.4 ranks, and 3.2 rows are for other nodes.
#include "sim/lower/moe_deepep.hpp"

#include <fmt/format.h>

#include "sim/lower/moe_megatron_a2a.hpp"
#include "sim/program/visit_table.hpp"

namespace moesim {
namespace {

class DeepEp final : public MoeSchedule {
 public:
  std::string_view name() const override { return "deepep"; }
  std::string_view description() const override {
    return "DeepSeek's DeepEP: a token once to each node and rank that it visits (arXiv 2412.19437, 3.2.2)";
  }
  Status check(const Plan& plan, const MoeShape& shape) const override {
    if (plan.sizes().esp > 1) return usage_error("deepep knows no shards of experts", "set esp to 1");
    if (plan.capacity_factor > 0)
      return usage_error("deepep makes copies where tokens have arrived and knows no capacity of one rank",
                         "set \"capacity_factor\": 0, or take megatron-a2a");
    return megatron_a2a().check(plan, shape);
  }
  std::string_view same_as(const Plan& plan, const MoeShape&) const override {
    return plan.sizes().ep == 1 ? megatron_a2a().name() : std::string_view{};
  }
  // With one hop there is nothing that a piece could travel beside.
  std::vector<int> degrees(const Plan& plan) const override {
    return VisitParts{plan.sizes().ep, plan.sizes().ep_on_node}.two_hops() ? std::vector<int>{4, 1, 2, 8}
                                                                           : std::vector<int>{1};
  }
  bool visits() const override { return true; }
  std::vector<std::string> notes(const Plan& plan) const override {
    const ParallelSizes& s = plan.sizes();
    if (s.ep == 1) return {};
    if (s.ep_on_node == 1)
      return {
          "deepep: each rank that a token visits gets it by itself; with ep_on_node (EP members on a node) it would "
          "cross to a node once"};
    if (s.ep_on_node == s.ep)
      return {fmt::format("deepep: all {} members of an EP group stand on one node: one hop", s.ep)};
    return {fmt::format("deepep: {} of the {} members of an EP group on each node; a token crosses to a node once",
                        s.ep_on_node, s.ep)};
  }

  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    if (b.plan().sizes().ep == 1) return megatron_a2a().forward(b, x);
    const GatedTokens visiting = b.visit(x, b.gate(x));
    const TensorId computed = b.unpermute_visiting(b.experts(b.permute_visiting(visiting)), visiting);
    return b.add_shared_experts(b.return_visits(computed), x);
  }
};

}  // namespace

const MoeSchedule& deepep() {
  static const DeepEp schedule;
  return schedule;
}

}  // namespace moesim
