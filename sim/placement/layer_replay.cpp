#include "sim/placement/layer_replay.hpp"

#include <algorithm>
#include <utility>

#include "sim/placement/co_activation.hpp"
#include "sim/plan/layer_slots.hpp"

namespace moesim {
namespace {

ExpertPlacement start_of_layer(const PlacementSizes& sizes, const ExpertSlots& start, int layer) {
  if (start.in_order()) return ExpertPlacement::contiguous(sizes);
  const auto given = static_cast<int>(start.slots(sizes.experts));
  const int used = given / sizes.devices;
  MOESIM_ASSERT(used * sizes.devices == given && used <= sizes.slots_per_device);
  std::vector<std::int32_t> slots(static_cast<std::size_t>(sizes.slots()), kEmptySlot);
  for (int slot = 0; slot < given; ++slot)
    slots[static_cast<std::size_t>(slot / used * sizes.slots_per_device + slot % used)] = start.expert(layer, slot);
  Result<ExpertPlacement> placement = ExpertPlacement::make(sizes, std::move(slots));
  MOESIM_ASSERT(placement.has_value());
  return std::move(*placement);
}

// Devices, by expert.
std::vector<std::int32_t> start_homes(const ExpertPlacement& placement, const ExpertSlots& start, int layer) {
  if (start.in_order()) return first_homes(placement);
  const LayerSlots slots(start, layer, placement.experts(), placement.devices());
  std::vector<std::int32_t> homes;
  for (std::int32_t expert = 0; expert < placement.experts(); ++expert)
    homes.push_back(slots.device_of(slots.home(expert)));
  return homes;
}

template <class Count>
LayerTime with_exchange(LayerTime time, const LayerTimeModel& model, const CountsView<Count>& counts,
                        const TokenSet* tokens, const std::optional<TokenExchange>& exchange) {
  if (exchange) time.exchange = Seconds(model.exchanges * exchange->seconds(tokens_of(counts, *tokens)));
  return time;
}

}  // namespace

LayerReplay::LayerReplay(const ReplayTrace& trace, const LayerTimeModel& model, const PlacementPolicy& policy,
                         const PlacementReplayOptions& options, int layer)
    : trace_(trace),
      model_(model),
      policy_(policy),
      options_(options),
      layer_(layer),
      timer_(model),
      predictor_(options.predictor,
                 static_cast<std::size_t>(trace.devices()) * static_cast<std::size_t>(trace.experts())),
      static_(still(model, options.start, layer, start_of_layer(replay_sizes(trace, options), options.start, layer))),
      real_(static_),
      wanted_(static_),
      decides_(&policy != placement_policies().front()) {}

LayerReplay::Standing LayerReplay::still(const LayerTimeModel& model, const ExpertSlots& start, int layer,
                                         ExpertPlacement placement) {
  std::vector<std::int32_t> homes = start_homes(placement, start, layer);
  const Seconds copies = copies_seconds(model, placement, homes);
  // A plan's copies get even shares (layer_slots.hpp).
  const TokenSplit split = placement.is_permutation() ? TokenSplit::kLocality : TokenSplit::kEven;
  return {{std::move(placement), {}, split}, std::move(homes), copies};
}

LayerTotals LayerReplay::run(PolicyReplay& result) {
  std::int64_t decided = trace_.iterations().front();
  for (int step = 0; step < trace_.steps(); ++step) {
    const std::int64_t now = trace_.iterations()[static_cast<std::size_t>(step)];
    if (step > 0 && decides_) {
      ReplayStep& here = result.steps[static_cast<std::size_t>(step)];
      if (options_.accept == AcceptRule::kTime) watch(result, here);
      if (now - decided >= options_.period) {
        decided = now;
        take_last_tokens(step);
        decide(now, result, here);
      }
    }
    play(step, result);
    if (decides_) observe(step, now);
  }
  const double iterations = total_weight(trace_);
  return {compute_ / iterations, exchange_ / iterations, copies_ / iterations, switching_, std::move(real_.decision)};
}

void LayerReplay::watch(PolicyReplay& result, ReplayStep& step) {
  if (account_.must_stop()) {
    ++result.stops;
    account_.stop();
    carry_out(change_to(real_, static_.decision), result, step);
  } else if (account_.stopped() && wanted_.decision != static_.decision) {
    Change back = change_to(real_, wanted_.decision);
    if (!account_.may_return(back.price)) return;
    account_.come_back();
    carry_out(std::move(back), result, step);
    wanted_ = real_;  // whose homes are others than on paper
  }
}

void LayerReplay::decide(std::int64_t now, PolicyReplay& result, ReplayStep& step) {
  ++result.decisions;
  const double middle = static_cast<double>(now) + 0.5 * static_cast<double>(options_.period);
  const PredictedCounts predicted{predictor_.predict(middle), trace_.devices(), trace_.experts()};
  const LayerTime before = time_of(predicted, wanted_.decision);
  const TokenSet* const tokens = last_tokens_.size() > 0 ? &last_tokens_ : nullptr;
  std::optional<Change> change =
      worth_it(predicted, before,
               policy_.propose({model_, predicted, wanted_.decision, micro_batches(), options_.expert_groups, tokens}));
  if (options_.accept != AcceptRule::kLoad && wanted_.decision != static_.decision) {
    std::optional<Change> retreat = worth_it(predicted, before, static_.decision);
    if (retreat && (!change || retreat->gain > change->gain)) change = std::move(retreat);
  }
  if (!change) return;
  wanted_ = change->then;
  if (account_.stopped())
    account_.pay_on_paper(change->price);
  else
    carry_out(std::move(*change), result, step);
}

LayerReplay::Change LayerReplay::change_to(const Standing& from, PlacementDecision decision) const {
  Change change{{std::move(decision), {}, {}}, {}, {}, {}};
  change.plan =
      plan_switch(model_, from.decision.placement, from.homes, change.then.decision.placement, options_.optimizer);
  change.price = switch_seconds(model_, change.plan, options_.switching);
  change.then.homes = change.plan.homes;
  change.then.copies = copies_seconds(model_, change.then.decision.placement, change.then.homes);
  return change;
}

std::optional<LayerReplay::Change> LayerReplay::worth_it(const PredictedCounts& predicted, const LayerTime& before,
                                                         PlacementDecision proposal) {
  if (proposal == wanted_.decision) return std::nullopt;
  const LayerTime after = time_of(predicted, proposal);
  Change change = change_to(wanted_, std::move(proposal));
  const Seconds now = before.total() * micro_batches() + wanted_.copies;
  const Seconds then = after.total() * micro_batches() + change.then.copies;
  change.gain = static_cast<double>(options_.period) * (now - then) - change.price;
  const bool taken = options_.accept == AcceptRule::kLoad
                         ? before.max_over_mean > options_.hysteresis * after.max_over_mean
                         : change.gain > Seconds(0) && now > options_.hysteresis * then;
  return taken ? std::optional(std::move(change)) : std::nullopt;
}

void LayerReplay::carry_out(Change change, PolicyReplay& result, ReplayStep& step) {
  ++result.changes;
  result.moves += change.plan.moves;
  result.moved += change.plan.bytes();
  step.switching += change.price;
  switching_ += change.price;
  real_ = std::move(change.then);
}

Seconds LayerReplay::played_as(int step, const Standing& standing, Seconds real) {
  if (standing.decision == real_.decision) return real;
  const TokenSet* const tokens = trace_.tokens(step, layer_);
  const std::optional<TokenExchange> exchange = exchange_of(tokens, standing.decision);
  Seconds all = standing.copies;
  for (int micro_batch = 0; micro_batch < trace_.micro_batches(); ++micro_batch) {
    const RecordedCounts counts = trace_.counts(step, layer_, micro_batch);
    const LayerTime time = with_exchange(timer_.time(counts, standing.decision), model_, counts, tokens, exchange);
    all += time.total() * options_.repeats;
  }
  return all;
}

void LayerReplay::play(int step, PolicyReplay& result) {
  ReplayStep& here = result.steps[static_cast<std::size_t>(step)];
  const double weight = trace_.weight(step);
  const TokenSet* const tokens = trace_.tokens(step, layer_);
  const std::optional<TokenExchange> exchange = exchange_of(tokens, real_.decision);
  Seconds all = real_.copies;
  for (int micro_batch = 0; micro_batch < trace_.micro_batches(); ++micro_batch) {
    const RecordedCounts counts = trace_.counts(step, layer_, micro_batch);
    const LayerTime time = with_exchange(timer_.time(counts, real_.decision), model_, counts, tokens, exchange);
    all += time.total() * options_.repeats;
    here.max_over_mean += time.max_over_mean;
    compute_ += time.compute * (options_.repeats * weight);
    exchange_ += (time.exchange + time.rest) * (options_.repeats * weight);
  }
  here.iteration += all;
  if (decides_ && options_.accept == AcceptRule::kTime)
    account_.add(weight, played_as(step, static_, all), all, played_as(step, wanted_, all));
  add_spread(step, weight, result);
  copies_ += real_.copies * weight;
  result.mean_copies += real_.copies * weight;
  result.shadowed += weight * static_cast<double>(real_.decision.shadowed.size());
  int held = 0;
  for (const std::int32_t expert : real_.decision.placement.expert_of_slot()) held += expert == kEmptySlot ? 0 : 1;
  result.copies += weight * (held - trace_.experts());
}

LayerTime LayerReplay::time_of(const PredictedCounts& counts, const PlacementDecision& decision) {
  return with_exchange(timer_.time(counts, decision), model_, counts, &last_tokens_,
                       exchange_of(&last_tokens_, decision));
}

// Of a dispatcher that sends tokens once per node; nothing for one that sends copies.
std::optional<TokenExchange> LayerReplay::exchange_of(const TokenSet* tokens, const PlacementDecision& decision) const {
  if (options_.dispatch == TokenDispatch::kCopies) return std::nullopt;
  MOESIM_ASSERT(tokens != nullptr);
  return std::optional<TokenExchange>(std::in_place, model_, *tokens, decision);
}

// The newest rows of the records before this step.
void LayerReplay::take_last_tokens(int step) {
  last_tokens_ = {};
  for (int past = step - 1; past >= std::max(0, step - kTokenRecords); --past) {
    const TokenSet* const record = trace_.tokens(past, layer_);
    if (record == nullptr) return;
    const std::size_t rows = std::min(record->size(), kTokenWindow - last_tokens_.size());
    if (rows == 0) continue;
    last_tokens_.top_k = record->top_k;
    last_tokens_.seen += record->seen;
    const auto end = [rows](const std::vector<std::int32_t>& numbers, int each) {
      return numbers.begin() + static_cast<std::ptrdiff_t>(rows) * each;
    };
    last_tokens_.experts.insert(last_tokens_.experts.end(), record->experts.begin(),
                                end(record->experts, record->top_k));
    last_tokens_.sources.insert(last_tokens_.sources.end(), record->sources.begin(), end(record->sources, 1));
  }
}

// The error at most: the same tokens are kept in all layers, so theirs may go together.
void LayerReplay::add_spread(int step, double weight, PolicyReplay& result) {
  const TokenSet* const tokens = trace_.tokens(step, layer_);
  if (tokens == nullptr || !result.spread) return;
  if (!real_.decision.placement.is_permutation()) {
    result.spread.reset();
    return;
  }
  const TokenSpread here = token_spread(*tokens, real_.decision, model_.node_of_device);
  const double share = weight / total_weight(trace_) / trace_.layers();
  result.spread->devices += share * here.devices;
  result.spread->nodes += share * here.nodes;
  result.spread->nodes_error += share * here.nodes_error;
}

void LayerReplay::observe(int step, std::int64_t now) {
  mean_.assign(static_cast<std::size_t>(trace_.devices()) * static_cast<std::size_t>(trace_.experts()), 0.0);
  for (int micro_batch = 0; micro_batch < trace_.micro_batches(); ++micro_batch) {
    const RecordedCounts counts = trace_.counts(step, layer_, micro_batch);
    for (std::size_t i = 0; i < mean_.size(); ++i) mean_[i] += counts.counts[i];
  }
  for (double& count : mean_) count /= trace_.micro_batches();
  predictor_.observe(now, mean_);
}

}  // namespace moesim
