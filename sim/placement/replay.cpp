#include "sim/placement/replay.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "sim/placement/co_activation.hpp"
#include "sim/placement/greedy_placement.hpp"
#include "sim/placement/oracle.hpp"
#include "sim/plan/layer_slots.hpp"
#include "sim/search/parallel.hpp"

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

// One layer under one policy, from the first recorded step to the last.
class LayerReplay {
 public:
  LayerReplay(const ReplayTrace& trace, const LayerTimeModel& model, const PlacementPolicy& policy,
              const PlacementReplayOptions& options, int layer)
      : trace_(trace),
        model_(model),
        policy_(policy),
        options_(options),
        layer_(layer),
        timer_(model),
        predictor_(options.predictor,
                   static_cast<std::size_t>(trace.devices()) * static_cast<std::size_t>(trace.experts())),
        static_{start_of_layer(replay_sizes(trace, options), options.start, layer), {}, TokenSplit::kLocality},
        decision_(static_),
        static_policy_(&policy == placement_policies().front()) {
    if (!static_.placement.is_permutation()) static_.split = TokenSplit::kEven;  // as a plan's copies get theirs
    decision_ = static_;
    homes_ = start_homes(static_.placement, options.start, layer);
    copies_ = copies_seconds(model_, static_.placement, homes_);
  }

  LayerTotals run(PolicyReplay& result) {
    std::int64_t decided = trace_.iterations().front();
    for (int step = 0; step < trace_.steps(); ++step) {
      const std::int64_t now = trace_.iterations()[static_cast<std::size_t>(step)];
      if (step > 0 && !static_policy_ && now - decided >= options_.period) {
        decided = now;
        take_last_tokens(step);
        decide(now, result, result.steps[static_cast<std::size_t>(step)]);
      }
      play(step, result);
      if (!static_policy_) observe(step, now);
    }
    const double iterations = total_weight(trace_);
    return {compute_ / iterations, exchange_ / iterations, all_copies_ / iterations, switching_, std::move(decision_)};
  }

 private:
  // What taking a decision would mean.
  struct Change {
    PlacementDecision decision;
    SwitchPlan plan;
    Seconds price;
    Seconds copies;
    Seconds gain;  // over the dwell, the price paid
  };

  void decide(std::int64_t now, PolicyReplay& result, ReplayStep& step) {
    ++result.decisions;
    const double middle = static_cast<double>(now) + 0.5 * static_cast<double>(options_.period);
    const PredictedCounts predicted{predictor_.predict(middle), trace_.devices(), trace_.experts()};
    const LayerTime before = time_of(predicted, decision_);
    const TokenSet* const tokens = last_tokens_.size() > 0 ? &last_tokens_ : nullptr;
    std::optional<Change> change =
        worth_it(predicted, before,
                 policy_.propose({model_, predicted, decision_, micro_batches(), options_.expert_groups, tokens}));
    if (options_.accept == AcceptRule::kTime && decision_ != static_) {
      std::optional<Change> retreat = worth_it(predicted, before, static_);
      if (retreat && (!change || retreat->gain > change->gain)) change = std::move(retreat);
    }
    if (!change) return;
    ++result.changes;
    result.moves += change->plan.moves;
    result.moved += change->plan.bytes();
    step.switching += change->price;
    switching_ += change->price;
    decision_ = std::move(change->decision);
    homes_ = std::move(change->plan.homes);
    copies_ = change->copies;
  }

  [[nodiscard]] std::optional<Change> worth_it(const PredictedCounts& predicted, const LayerTime& before,
                                               PlacementDecision proposal) {
    if (proposal == decision_) return std::nullopt;
    const LayerTime after = time_of(predicted, proposal);
    Change change{std::move(proposal), {}, {}, {}, {}};
    change.plan = plan_switch(model_, decision_.placement, homes_, change.decision.placement, options_.optimizer);
    change.price = switch_seconds(model_, change.plan, options_.switching);
    change.copies = copies_seconds(model_, change.decision.placement, change.plan.homes);
    const Seconds now = before.total() * micro_batches() + copies_;
    const Seconds then = after.total() * micro_batches() + change.copies;
    change.gain = static_cast<double>(options_.period) * (now - then) - change.price;
    const bool taken = options_.accept == AcceptRule::kLoad
                           ? before.max_over_mean > options_.hysteresis * after.max_over_mean
                           : change.gain > Seconds(0) && now > options_.hysteresis * then;
    return taken ? std::optional(std::move(change)) : std::nullopt;
  }

  void play(int step, PolicyReplay& result) {
    ReplayStep& here = result.steps[static_cast<std::size_t>(step)];
    const double weight = trace_.weight(step);
    const TokenSet* const tokens = trace_.tokens(step, layer_);
    const std::optional<TokenExchange> exchange = exchange_of(tokens, decision_);
    for (int micro_batch = 0; micro_batch < trace_.micro_batches(); ++micro_batch) {
      const RecordedCounts counts = trace_.counts(step, layer_, micro_batch);
      const LayerTime time = with_exchange(timer_.time(counts, decision_), counts, tokens, exchange);
      here.iteration += time.total() * options_.repeats;
      here.max_over_mean += time.max_over_mean;
      compute_ += time.compute * (options_.repeats * weight);
      exchange_ += (time.exchange + time.rest) * (options_.repeats * weight);
    }
    add_spread(step, weight, result);
    here.iteration += copies_;
    all_copies_ += copies_ * weight;
    result.mean_copies += copies_ * weight;
    result.shadowed += weight * static_cast<double>(decision_.shadowed.size());
    int held = 0;
    for (const std::int32_t expert : decision_.placement.expert_of_slot()) held += expert == kEmptySlot ? 0 : 1;
    result.copies += weight * (held - trace_.experts());
  }

  // Of the last tokens where the counts are predicted.
  [[nodiscard]] LayerTime time_of(const PredictedCounts& counts, const PlacementDecision& decision) {
    return with_exchange(timer_.time(counts, decision), counts, &last_tokens_, exchange_of(&last_tokens_, decision));
  }

  // Of a dispatcher that sends tokens once per node; nothing for one that sends copies.
  [[nodiscard]] std::optional<TokenExchange> exchange_of(const TokenSet* tokens,
                                                         const PlacementDecision& decision) const {
    if (options_.dispatch == TokenDispatch::kCopies) return std::nullopt;
    MOESIM_ASSERT(tokens != nullptr);
    return std::optional<TokenExchange>(std::in_place, model_, *tokens, decision);
  }
  template <class Count>
  [[nodiscard]] LayerTime with_exchange(LayerTime time, const CountsView<Count>& counts, const TokenSet* tokens,
                                        const std::optional<TokenExchange>& exchange) const {
    if (exchange) time.exchange = Seconds(model_.exchanges * exchange->seconds(tokens_of(counts, *tokens)));
    return time;
  }

  // The newest rows of the records before this step.
  void take_last_tokens(int step) {
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
  void add_spread(int step, double weight, PolicyReplay& result) {
    const TokenSet* const tokens = trace_.tokens(step, layer_);
    if (tokens == nullptr || !result.spread) return;
    if (!decision_.placement.is_permutation()) {
      result.spread.reset();
      return;
    }
    const TokenSpread here = token_spread(*tokens, decision_, model_.node_of_device);
    const double share = weight / total_weight(trace_) / trace_.layers();
    result.spread->devices += share * here.devices;
    result.spread->nodes += share * here.nodes;
    result.spread->nodes_error += share * here.nodes_error;
  }

  [[nodiscard]] int micro_batches() const { return trace_.micro_batches() * options_.repeats; }  // of an iteration

  void observe(int step, std::int64_t now) {
    mean_.assign(static_cast<std::size_t>(trace_.devices()) * static_cast<std::size_t>(trace_.experts()), 0.0);
    for (int micro_batch = 0; micro_batch < trace_.micro_batches(); ++micro_batch) {
      const RecordedCounts counts = trace_.counts(step, layer_, micro_batch);
      for (std::size_t i = 0; i < mean_.size(); ++i) mean_[i] += counts.counts[i];
    }
    for (double& count : mean_) count /= trace_.micro_batches();
    predictor_.observe(now, mean_);
  }

  const ReplayTrace& trace_;
  const LayerTimeModel& model_;
  const PlacementPolicy& policy_;
  const PlacementReplayOptions& options_;
  int layer_;
  LayerTimer timer_;
  LoadPredictor predictor_;
  PlacementDecision static_;
  PlacementDecision decision_;
  std::vector<std::int32_t> homes_;
  bool static_policy_;
  Seconds copies_;  // gradients and weights of the copies in force, per iteration
  // Over all iterations.
  Seconds compute_;
  Seconds exchange_;
  Seconds all_copies_;
  Seconds switching_;
  std::vector<double> mean_;
  TokenSet last_tokens_;
};

void finish(const ReplayTrace& trace, PolicyReplay& result) {
  const double weight = total_weight(trace);
  const double parts = static_cast<double>(trace.layers()) * trace.micro_batches();
  Seconds all;
  result.max_over_mean = 0;
  for (int step = 0; step < trace.steps(); ++step) {
    ReplayStep& here = result.steps[static_cast<std::size_t>(step)];
    here.max_over_mean /= parts;
    result.max_over_mean += here.max_over_mean * trace.weight(step) / weight;
    result.switching += here.switching;
    all += here.iteration * trace.weight(step) + here.switching;
  }
  result.mean_iteration = all / weight;
  result.mean_copies = result.mean_copies / weight;
  result.shadowed /= weight * trace.layers();
  result.copies /= weight * trace.layers();
}

}  // namespace

double total_weight(const ReplayTrace& trace) {
  double weight = 0;
  for (int step = 0; step < trace.steps(); ++step) weight += trace.weight(step);
  return weight;
}

PlacementSizes replay_sizes(const ReplayTrace& trace, const PlacementReplayOptions& options) {
  PlacementSizes sizes{trace.devices(), trace.experts(), 0};
  sizes.slots_per_device = sizes.least_slots_per_device() + options.spare_slots;
  return sizes;
}

PolicyReplay replay_policy(const ReplayTrace& trace, const LayerTimeModel& model, const PlacementPolicy& policy,
                           const PlacementReplayOptions& options) {
  MOESIM_ASSERT(model.devices() == trace.devices());
  PolicyReplay result;
  result.policy = policy.name();
  if (trace.tokens(0, 0) != nullptr) result.spread.emplace();
  ReplayStep nothing;
  nothing.max_over_mean = 0;
  result.steps.assign(static_cast<std::size_t>(trace.steps()), nothing);
  for (int layer = 0; layer < trace.layers(); ++layer)
    result.layers.push_back(LayerReplay(trace, model, policy, options, layer).run(result));
  finish(trace, result);
  return result;
}

ReplayBounds replay_bounds(const ReplayTrace& trace, const LayerTimeModel& model,
                           const PlacementReplayOptions& options) {
  ReplayBounds bounds;
  bounds.hot_expert = bounds.contiguous = 0;
  const PlacementSizes sizes = replay_sizes(trace, options);
  const ExpertPlacement contiguous = ExpertPlacement::contiguous(sizes);
  LayerTimeModel bound = model;
  if (options.dispatch == TokenDispatch::kOncePerNode) bound.exchanges = 0;
  OracleTimer oracle(bound, sizes.slots_per_device);
  const double weight = total_weight(trace);
  Seconds all;
  for (int step = 0; step < trace.steps(); ++step) {
    Seconds here;
    const double share = trace.weight(step) / weight / trace.layers() / trace.micro_batches();
    for (int layer = 0; layer < trace.layers(); ++layer)
      for (int micro_batch = 0; micro_batch < trace.micro_batches(); ++micro_batch) {
        const RecordedCounts counts = trace.counts(step, layer, micro_batch);
        here += oracle.time(counts) * options.repeats;
        const std::vector<double> totals = expert_totals(counts);
        bounds.hot_expert += share * hot_expert_bound(totals, trace.devices());
        bounds.contiguous += share * max_over_mean(device_loads(totals, contiguous));
      }
    bounds.oracle.push_back(here);
    all += here * trace.weight(step);
  }
  bounds.mean_oracle = all / weight;
  return bounds;
}

std::vector<PolicyReplay> replay_policies(const ReplayTrace& trace, const LayerTimeModel& model,
                                          std::span<const PlacementPolicy* const> policies,
                                          const PlacementReplayOptions& options, int threads) {
  std::vector<PolicyReplay> results(policies.size());
  parallel_for(policies.size(), threads,
               [&](std::size_t i) { results[i] = replay_policy(trace, model, *policies[i], options); });
  return results;
}

TuningSpace default_tuning_space(const ReplayTrace& trace) {
  const std::int64_t first = trace.iterations().front();
  const std::int64_t stride = std::max<std::int64_t>(1, trace.iterations()[1] - first);
  TuningSpace space;
  for (const std::int64_t times : {1, 2, 5, 10, 20, 50})
    if (times == 1 || times * stride < trace.iterations().back() - first) space.periods.push_back(times * stride);
  space.hysteresis = {1, 1.02, 1.05, 1.1, 1.2};
  return space;
}

TunedReplay tune_policy(const ReplayTrace& trace, const LayerTimeModel& model, const PlacementPolicy& policy,
                        const PlacementReplayOptions& options, const TuningSpace& space, int threads) {
  const std::size_t columns = space.hysteresis.size();
  std::vector<TunedReplay> tried(space.periods.size() * columns);
  parallel_for(tried.size(), threads, [&](std::size_t i) {
    PlacementReplayOptions point = options;
    point.period = tried[i].period = space.periods[i / columns];
    point.hysteresis = tried[i].hysteresis = space.hysteresis[i % columns];
    tried[i].replay = replay_policy(trace, model, policy, point);
  });
  return *std::min_element(tried.begin(), tried.end(), [](const TunedReplay& a, const TunedReplay& b) {
    return a.replay.mean_iteration < b.replay.mean_iteration;
  });
}

}  // namespace moesim
