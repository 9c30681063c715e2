#include "sim/lower/moe_layer_builder.hpp"

#include "sim/lower/ffn.hpp"
#include "sim/plan/layer_slots.hpp"

namespace moesim {

TensorId MoeLayerBuilder::own_tokens(TensorId x) {
  if (plan().sizes().tp == 1 || plan().sequence_parallel) return x;
  return b_.take_share("moe.split_tokens", x, GroupKind::kTp);
}

TensorId MoeLayerBuilder::return_own_tokens(TensorId y) {
  if (plan().sizes().tp == 1 || plan().sequence_parallel) return y;
  return b_.gather_shares("moe.gather_tokens", y, GroupKind::kTp, Stream::kTp);
}

TensorId MoeLayerBuilder::group_tokens(TensorId x) {
  if (plan().sizes().tp == 1 || !plan().sequence_parallel) return x;
  return b_.gather_shares("moe.gather_tokens", x, GroupKind::kTp, Stream::kTp);
}

TensorId MoeLayerBuilder::return_group_tokens(TensorId y) {
  if (plan().sizes().tp == 1 || !plan().sequence_parallel) return y;
  return b_.take_share("moe.split_tokens", y, GroupKind::kTp);
}

// Each token is there once for every rank of its TP group, and each brings a gradient. Inside each of them counts as 1 / TP, so
// that weights see a token's gradient once; what leaves counts whole again. The shards' parts of it are summed on the way.
TensorId MoeLayerBuilder::esp_tokens(TensorId x) {
  const ParallelSizes& sizes = plan().sizes();
  if (sizes.tp > 1) x = b_.scale_gradient("moe.count_all", x, static_cast<float>(sizes.tp));
  return sizes.esp > 1 ? b_.all_gather("moe.gather_tokens", x, GroupKind::kEsp, Stream::kEsp) : x;
}

TensorId MoeLayerBuilder::esp_tokens_alike(TensorId x) {
  const ParallelSizes& sizes = plan().sizes();
  if (sizes.tp > 1) x = b_.scale_gradient("moe.count_all", x, static_cast<float>(sizes.tp));
  return b_.gather_shares("moe.gather_tokens", x, GroupKind::kEsp, Stream::kEsp);
}

// Each rank of the group sees the whole gradient of the gate's weights, whose sum is that of parts: it counts as 1 / ESP there, and
// whole in the gradient of the tokens, of which each rank keeps its own.
TensorId MoeLayerBuilder::gate_alike_on_esp(TensorId x) {
  const auto shards = static_cast<float>(plan().sizes().esp);
  return b_.scale_gradient("gate.count_once", gate(b_.scale_gradient("gate.count_all", x, shards)), 1 / shards);
}

TensorId MoeLayerBuilder::return_esp_tokens(TensorId y) {
  const ParallelSizes& sizes = plan().sizes();
  if (sizes.esp > 1) y = b_.take_share("moe.split_tokens", y, GroupKind::kEsp);
  return sizes.tp > 1 ? b_.scale_gradient("moe.count_once", y, 1.0F / static_cast<float>(sizes.tp)) : y;
}

TensorId MoeLayerBuilder::gate(TensorId x) {
  tokens_ = b_.tensor(x).rows.count;
  // On tokens of its own each TP rank sees a part of the gate's gradient, on tokens of ESP ranks that of its shards; on the
  // tokens of the TP group all of it.
  const bool part = division_ == CopyDivision::kOwnTokens || division_ == CopyDivision::kAllOfEspGroup;
  const OnTp on_tp = part ? OnTp::kSameInside : OnTp::kAlike;
  const TensorId logits = b_.linear("gate.router", x,
                                    {.in = b_.model().hidden,
                                     .out = shape_.experts,
                                     .bias = shape_.router_bias,
                                     .high_precision = true,
                                     .on_tp = on_tp});
  TensorId correction;
  if (shape_.score_correction_bias) correction = b_.parameter("gate.correction_bias", shape_.experts, OnTp::kSame);
  return b_.top_k("gate.top_k", logits, shape_.top_k, correction);
}

RoutedTokens MoeLayerBuilder::permute(TensorId x, TensorId gate) {
  const bool shared = division_ == CopyDivision::kShareOfEachExpert && plan().sizes().tp > 1;
  return b_.permute("moe.permute", x, gate, shape_.top_k, shared ? RowSource::kGated : RowSource::kRouted);
}

MoeLayerBuilder::GatheredTokens MoeLayerBuilder::gather_everything(TensorId x, TensorId gate) {
  return {b_.all_gather("moe.gather_all_tokens", x, GroupKind::kEpEsp, Stream::kEp),
          b_.all_gather("moe.gather_all_choices", gate, GroupKind::kEpEsp, Stream::kEp)};
}

// As many copies as the experts of a rank get on average: those of its own tokens, once for each shard.
RoutedTokens MoeLayerBuilder::permute_local(const GatheredTokens& all) {
  return b_.permute("moe.permute_local", all.tokens, all.gate, shape_.top_k, RowSource::kArrivedShards);
}

TensorId MoeLayerBuilder::unpermute_local(TensorId y, const GatheredTokens& all) {
  const TensorId sums = b_.unpermute("moe.unpermute_local", y, all.gate, b_.tensor(all.tokens).rows.count);
  return b_.reduce_scatter("moe.sum_all", sums, GroupKind::kEpEsp, Stream::kEp);
}

RoutedTokens MoeLayerBuilder::share_out(const RoutedTokens& x) {
  if (plan().sizes().tp == 1) return x;
  return b_.take_share("moe.share_out", b_.sort_by_share("moe.sort_shares", x), GroupKind::kTp);
}

TensorId MoeLayerBuilder::gather_shares(TensorId x) {
  if (plan().sizes().tp == 1) return x;
  const TensorId shares = b_.gather_shares("moe.gather_shares", x, GroupKind::kTp, Stream::kTp);
  return b_.sort_shares_by_expert("moe.sort_shares_back", shares);
}

RoutedTokens MoeLayerBuilder::dispatch_shares(const RoutedTokens& x) {
  const GroupKind group = plan().sizes().esp > 1 ? GroupKind::kEpEsp : GroupKind::kEp;
  const RoutedTokens sorted = b_.sort_by_share("moe.sort_shares", x);
  std::vector<TensorId> pieces =
      b_.split_columns("moe.split_copies", sorted.tokens, pieces_of(b_.tensor(x.tokens).columns));
  RoutedTokens first{pieces[0], sorted.weights};  // the weights of the copies travel with it
  first = b_.take_share("moe.share_out", first, GroupKind::kTp);
  if (group == GroupKind::kEpEsp) first = b_.replicate("moe.replicate", first);
  for (std::size_t i = 1; i < pieces.size(); ++i) {
    pieces[i] = b_.take_share("moe.share_out", pieces[i], GroupKind::kTp);
    if (group == GroupKind::kEpEsp) pieces[i] = b_.replicate("moe.replicate", pieces[i]);
  }
  std::vector<PackedTokens> under_way = {depart(first, OpKind::kDispatch, group)};
  for (std::size_t i = 1; i < pieces.size(); ++i)
    under_way.push_back(depart({pieces[i], {}}, OpKind::kDispatch, group));
  first = arrive(under_way[0]);
  pieces[0] = first.tokens;
  for (std::size_t i = 1; i < pieces.size(); ++i) pieces[i] = arrive(under_way[i]).tokens;
  return {b_.join_columns("moe.join_copies", pieces), first.weights};
}

TensorId MoeLayerBuilder::combine_shares(TensorId x) {
  const GroupKind group = plan().sizes().esp > 1 ? GroupKind::kEpEsp : GroupKind::kEp;
  std::vector<TensorId> pieces = b_.split_columns("moe.split_results", x, pieces_of(b_.tensor(x).columns));
  std::vector<PackedTokens> under_way;
  for (const TensorId piece : pieces) under_way.push_back(depart({piece, {}}, OpKind::kCombine, group));
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    TensorId& piece = pieces[i];
    piece = arrive(under_way[i]).tokens;
    if (group == GroupKind::kEpEsp) piece = b_.sum_replicas("moe.sum_replicas", piece);
    piece = b_.gather_shares("moe.gather_shares", piece, GroupKind::kTp, Stream::kTp);
  }
  return b_.sort_shares_by_expert("moe.sort_shares_back", b_.join_columns("moe.join_results", pieces));
}

std::vector<RoutedTokens> MoeLayerBuilder::cut(const RoutedTokens& x, CutBy by, int pieces) {
  const std::vector<TensorId> tokens = b_.split_rows("moe.cut", x.tokens, by, pieces);
  const std::vector<TensorId> weights = b_.split_rows("moe.cut_weights", x.weights, by, pieces);
  std::vector<RoutedTokens> result;
  for (std::size_t i = 0; i < tokens.size(); ++i) result.push_back({tokens[i], weights[i]});
  return result;
}

TensorId MoeLayerBuilder::join(const std::vector<TensorId>& pieces) { return b_.join_rows("moe.join", pieces); }

RoutedTokens MoeLayerBuilder::replicate(const RoutedTokens& x) { return b_.replicate("moe.replicate", x); }

RoutedTokens MoeLayerBuilder::dispatch(const RoutedTokens& x, GroupKind group) {
  return b_.dispatch("moe.dispatch", x, group);
}

PackedTokens MoeLayerBuilder::compress(const RoutedTokens& x, OpKind exchange, GroupKind group) {
  return b_.compress(x, exchange, group);
}

PackedTokens MoeLayerBuilder::exchange(const PackedTokens& x) {
  return b_.exchange(x.exchange == OpKind::kDispatch ? "moe.dispatch" : "moe.combine", x);
}

PackedTokens MoeLayerBuilder::depart(const RoutedTokens& x, OpKind exchange, GroupKind group) {
  return this->exchange(compress(x, exchange, group));
}

RoutedTokens MoeLayerBuilder::arrive(const PackedTokens& x) { return b_.decompress(x); }

RoutedTokens MoeLayerBuilder::share(const RoutedTokens& x, GroupKind group) {
  return b_.all_gather("moe.share", x, group, Stream::kEsp);
}

RoutedTokens MoeLayerBuilder::sort_by_expert(const RoutedTokens& x) { return b_.sort_by_expert("moe.sort", x); }

GuestMatrices MoeLayerBuilder::guests() const {
  if (!plan().expert_slots.has_spare(shape_.experts)) return {};
  const LayerSlots slots(plan().expert_slots, b_.model().moe_layers_before(b_.layer()), shape_.experts,
                         plan().sizes().ep);
  return {slots.per_device() - slots.places_with_state(), true};
}

LinearShape MoeLayerBuilder::up_shape() const {
  const std::int64_t width = shape_.expert.width / plan().sizes().esp;
  return {.in = b_.model().hidden,
          .out = shape_.expert.gated ? 2 * width : width,
          .groups = local_experts(),
          .guests = guests(),
          .replicas = GroupKind::kEdp,
          .bias = shape_.expert.bias};
}

LinearShape MoeLayerBuilder::down_shape() const {
  return {.in = shape_.expert.width / plan().sizes().esp,
          .out = b_.model().hidden,
          .groups = local_experts(),
          .guests = guests(),
          .replicas = GroupKind::kEdp,
          .bias = shape_.expert.bias,
          .bias_on_every_shard = true};
}

TensorId MoeLayerBuilder::experts(const RoutedTokens& x) { return experts_down(experts_up(x), {}); }

TensorId MoeLayerBuilder::experts_up(const RoutedTokens& x) {
  if (!up_.valid()) up_ = b_.linear_weight("experts.up", up_shape());
  const TensorId raised = b_.linear("experts.up", x.tokens, up_shape(), up_);
  return b_.weighted_activation("experts.activation", {raised, x.weights}, shape_.expert.gated);
}

TensorId MoeLayerBuilder::experts_down(TensorId activated, const ColumnBlock& block) {
  if (!down_.valid()) down_ = b_.linear_weight("experts.down", down_shape());
  return b_.linear("experts.down", activated, down_shape(), down_, block);
}

TensorId MoeLayerBuilder::experts_of_arrived(const RoutedTokens& x) {
  const bool mixed = local_experts() > 1;
  const TensorId computed = experts(mixed ? sort_by_expert(x) : x);
  return mixed ? sort_by_source(computed) : computed;
}

std::vector<PackedTokens> MoeLayerBuilder::experts_under_way(const std::vector<PackedTokens>& pieces, GroupKind group) {
  std::vector<PackedTokens> back;
  for (const PackedTokens& piece : pieces)
    back.push_back(depart({experts_of_arrived(arrive(piece)), {}}, OpKind::kCombine, group));
  return back;
}

TensorId MoeLayerBuilder::sort_activated(TensorId x) { return b_.sort_shares_by_expert("moe.sort_activated", x); }

TensorId MoeLayerBuilder::join_columns(const std::vector<TensorId>& blocks) {
  return b_.join_columns("moe.join_columns", blocks);
}

int MoeLayerBuilder::column_blocks() const { return pieces_of(b_.model().hidden); }

MoeLayerBuilder::CutCopies MoeLayerBuilder::cut_shadows(const RoutedTokens& x, int distances) {
  const ShadowCut cut{distances, batches(), shadows_, shape_.experts};
  const std::vector<TensorId> tokens = b_.split_rows("moe.cut", x.tokens, cut);
  const std::vector<TensorId> weights = b_.split_rows("moe.cut_weights", x.weights, cut);
  CutCopies result;
  for (std::size_t i = 0; i < tokens.size(); ++i)
    (i < static_cast<std::size_t>(distances) ? result.travelling : result.staying).push_back({tokens[i], weights[i]});
  return result;
}

std::vector<ExpertWeights> MoeLayerBuilder::fetch_shadows(TensorId gate) {
  if (!up_.valid()) up_ = b_.linear_weight("experts.up", up_shape());
  if (!down_.valid()) down_ = b_.linear_weight("experts.down", down_shape());
  std::vector<ExpertWeights> fetched;
  for (int batch = 0; batch < batches(); ++batch) {
    const std::int64_t experts = static_cast<std::int64_t>(shadows_) * (batch + 1) / batches() -
                                 static_cast<std::int64_t>(shadows_) * batch / batches();
    fetched.push_back(
        b_.fetch_experts("experts.fetch", {up_, down_}, gate, experts,
                         {CutBy::kShadow, static_cast<std::int16_t>(batch), static_cast<std::int16_t>(batches())}));
  }
  return fetched;
}

TensorId MoeLayerBuilder::shadow_experts(const RoutedTokens& staying, const ExpertWeights& weights) {
  const TensorId raised = b_.linear("experts.fetched_up", staying.tokens, up_shape(), weights.up);
  const TensorId activated =
      b_.weighted_activation("experts.fetched_activation", {raised, staying.weights}, shape_.expert.gated);
  return b_.linear("experts.fetched_down", activated, down_shape(), weights.down);
}

TensorId MoeLayerBuilder::experts_summed(const RoutedTokens& x) {
  if (plan().sizes().esp == 1) return experts(x);
  const RoutedTokens entered{b_.enter_replicated("experts.enter", x.tokens, GroupKind::kEsp, Stream::kEsp),
                             b_.enter_replicated("experts.enter_weights", x.weights, GroupKind::kEsp, Stream::kEsp)};
  return b_.all_reduce("experts.sum", experts(entered), GroupKind::kEsp, Stream::kEsp);
}

TensorId MoeLayerBuilder::sum_alike(TensorId x) {
  if (plan().sizes().esp == 1) return x;
  return b_.all_reduce("moe.sum_alike", x, GroupKind::kEsp, Stream::kEsp);
}

RoutedTokens MoeLayerBuilder::share_alike(const RoutedTokens& x) {
  return b_.gather_shares("moe.share", x, GroupKind::kEsp, Stream::kEsp);
}

TensorId MoeLayerBuilder::keep_own_rows(TensorId x) { return b_.take_share("moe.keep_own", x, GroupKind::kEsp); }

TensorId MoeLayerBuilder::sort_by_source(TensorId x) { return b_.sort_by_source("moe.sort_back", x); }

TensorId MoeLayerBuilder::sum_shards(TensorId x, GroupKind group) {
  return b_.reduce_scatter("moe.sum_shards", x, group, Stream::kEsp);
}

TensorId MoeLayerBuilder::combine(TensorId x, GroupKind group) { return b_.combine("moe.combine", x, group); }

TensorId MoeLayerBuilder::sum_replicas(TensorId x) { return b_.sum_replicas("moe.sum_replicas", x); }

TensorId MoeLayerBuilder::unpermute(TensorId x, TensorId gate) {
  return b_.unpermute("moe.unpermute", x, gate, tokens_);
}

TensorId MoeLayerBuilder::add_shared_experts(TensorId y, TensorId x) {
  if (shape_.shared.width == 0) return y;
  const TensorId shared = lower_ffn(b_, x, shape_.shared, FfnPlace::kShared);
  if (shape_.shared_gate) b_.parameter("shared.gate", b_.model().hidden, OnTp::kSame);
  return b_.add("shared.add", y, shared);
}

}  // namespace moesim
