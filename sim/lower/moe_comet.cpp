// Comet (arXiv 2502.19811): exchange and experts overlap inside two fused kernels.
//
// Before the experts rows are cut by the distance they come from, and the up-projection of one piece runs while the next arrives;
// with as many pieces as ranks the first are a rank's own rows, which it reads where they are. Behind the activation all rows are
// together again, and the down-projection is made by blocks of its result's columns: one block is on its way back while the next is
// computed. The backward pass is the adjoint: gradients arrive by blocks of columns and leave by pieces of rows.
//
//   network:  (own rows) D_1 ... D_{r-1}             C_0 ... C_{r-1}
//   device:    U_0 after nothing, U_1 after D_1, ...  W_0 ... W_{r-1}, C_j after W_j
//
// A kernel is launched once: its later pieces pay no launch and no start of an exchange (Fusion::kPiece), and what it does by
// addressing costs nothing (kAddressing). The compute units that its exchanges hold are the plan's comm_sm_share.
#include "sim/lower/moe_comet.hpp"

#include "sim/lower/moe_megatron_a2a.hpp"

namespace moesim {
namespace {

Fusion piece_of_kernel(std::size_t piece, std::size_t first = 0) {
  return piece > first ? Fusion::kPiece : Fusion::kNone;
}

class Comet final : public MoeSchedule {
 public:
  std::string_view name() const override { return "comet"; }
  std::string_view description() const override {
    return "Comet: rows by distance into the experts and columns out of them, in fused kernels (arXiv 2502.19811)";
  }
  Status check(const Plan& plan, const MoeShape& shape) const override {
    if (plan.sizes().esp > 1) return usage_error("comet knows no shards of experts", "set esp to 1");
    return megatron_a2a().check(plan, shape);
  }
  // Of rows the divisors of EP, the finest first.
  std::vector<int> degrees(const Plan& plan) const override {
    std::vector<int> pieces;
    for (int r = kMostMoePieces; r >= 1; --r)
      if (plan.sizes().ep % r == 0) pieces.push_back(r);
    return pieces;
  }
  std::string_view same_as(const Plan& plan, const MoeShape&) const override {
    return is_in_one_piece(*this, plan) ? megatron_a2a().name() : std::string_view{};
  }
  std::vector<std::string> notes(const Plan& plan) const override {
    if (moe_degree(*this, plan) == 1) return {};
    return {
        "comet is priced as two fused kernels: their pieces pay neither launches nor starts of exchanges of their own"};
  }
  std::vector<std::string> notes_of_execution(const Plan& plan) const override {
    if (moe_degree(*this, plan) == 1) return {};
    return {"comet: its pieces run one by one here, in kernels of their own, and are predicted so"};
  }

  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    if (b.degree() == 1) return megatron_a2a().forward(b, x);
    const TensorId gate = b.gate(x);
    const TensorId activated = up(b, b.permute(x, gate));
    const TensorId results = down(b, activated);
    return b.add_shared_experts(b.unpermute(results, gate), x);
  }

 private:
  // The first kernel: rows in, activations of all of them in the order of their experts out.
  static TensorId up(MoeLayerBuilder& b, const RoutedTokens& routed) {
    const bool mixed = b.local_experts() > 1;
    const std::size_t own = b.degree() == b.plan().sizes().ep ? 1 : 0;  // pieces that stay on their rank
    b.fuse(Fusion::kAddressing);
    const std::vector<RoutedTokens> pieces = b.cut(routed, CutBy::kDistance, b.degree());
    b.fuse(Fusion::kNone);
    std::vector<PackedTokens> out;
    for (const RoutedTokens& piece : pieces) out.push_back(b.compress(piece, OpKind::kDispatch, GroupKind::kEp));
    for (std::size_t i = 0; i < out.size(); ++i) {
      b.fuse(i < own ? Fusion::kAddressing : piece_of_kernel(i, own));
      out[i] = b.exchange(out[i]);
    }
    std::vector<TensorId> activated;
    for (std::size_t i = 0; i < out.size(); ++i) {
      b.fuse(Fusion::kNone);
      RoutedTokens piece = b.arrive(out[i]);
      b.fuse(Fusion::kAddressing);
      if (mixed) piece = b.sort_by_expert(piece);
      b.fuse(piece_of_kernel(i));
      TensorId computed = b.experts_up(piece);
      b.fuse(Fusion::kAddressing);
      if (mixed) computed = b.sort_by_source(computed);
      activated.push_back(computed);
    }
    const TensorId all = b.join(activated);
    const TensorId sorted = mixed ? b.sort_activated(all) : all;
    b.fuse(Fusion::kNone);
    return sorted;
  }

  // The second: results of all rows, back with the ranks that the rows came from.
  static TensorId down(MoeLayerBuilder& b, TensorId activated) {
    const bool mixed = b.local_experts() > 1;
    const int blocks = b.column_blocks();
    std::vector<PackedTokens> back;
    for (int i = 0; i < blocks; ++i) {
      const auto piece = static_cast<std::size_t>(i);
      b.fuse(piece_of_kernel(piece));
      TensorId computed = b.experts_down(activated, {static_cast<std::int8_t>(i), static_cast<std::int8_t>(blocks)});
      b.fuse(Fusion::kAddressing);
      if (mixed) computed = b.sort_by_source(computed);
      b.fuse(Fusion::kNone);
      const PackedTokens packed = b.compress({computed, {}}, OpKind::kCombine, GroupKind::kEp);
      b.fuse(piece_of_kernel(piece));
      back.push_back(b.exchange(packed));
    }
    b.fuse(Fusion::kNone);
    std::vector<TensorId> results;
    for (const PackedTokens& arriving : back) results.push_back(b.arrive(arriving).tokens);
    if (blocks == 1) return results.front();
    b.fuse(Fusion::kAddressing);
    const TensorId joined = b.join_columns(results);
    b.fuse(Fusion::kNone);
    return joined;
  }
};

}  // namespace

const MoeSchedule& comet() {
  static const Comet schedule;
  return schedule;
}

}  // namespace moesim
