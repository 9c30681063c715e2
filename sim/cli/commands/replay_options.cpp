#include "sim/cli/commands/replay_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "sim/cli/number_range.hpp"
#include "sim/cli/routing_source.hpp"
#include "sim/cli/sources.hpp"
#include "sim/placement/layer_laws.hpp"
#include "sim/placement/layer_times_file.hpp"
#include "sim/placement/plan_replay.hpp"

namespace moesim {
namespace {

constexpr std::int64_t kLongestPeriod = 1'000'000'000;

void add_replay_decisions(CLI::App& command, Session& session, ReplayRequest& request) {
  constexpr const char* kGroup = "Decisions";
  CLI::Option* policies =
      command.add_option("--policies", request.policies, "Of docs/placement.md, separated by commas; all of them")
          ->delimiter(',')
          ->option_text("NAMES")
          ->group(kGroup);
  std::vector<std::string> names;
  for (const PlacementPolicy* policy : placement_policies()) names.emplace_back(policy->name());
  session.suggest(policies, std::move(names));
  const auto given = add_period_options(command, request.options);
  for (CLI::Option* option : given) option->group(kGroup);
  std::vector<std::string> predictors;
  for (const std::string_view name : predictor_names()) predictors.emplace_back(name);
  session
      .add_choice(command, "--predictor", request.predictor, std::move(predictors), "From past counts to the next ones")
      ->default_str(request.predictor)
      ->group(kGroup);
  session
      .add_choice(command, "--accept", request.accept, {"time", "promise", "load"},
                  "Compare times, the switch included, and stop where it did not come true; the same without looking "
                  "back; or loads alone as SmartMoE does")
      ->default_str(request.accept)
      ->group(kGroup);
  session
      .add_choice(command, "--switching", request.switching, {"batched", "serial"},
                  "Experts move all at once, or one after the other as in SmartMoE's artifact")
      ->default_str(request.switching)
      ->group(kGroup);
  session
      .add_choice(command, "--optimizer", request.optimizer, {"moves", "stays"},
                  "Whether an expert's optimizer state goes where the expert goes")
      ->default_str(request.optimizer)
      ->group(kGroup);
  command
      .add_flag("--search", request.search, "For each policy the best period and hysteresis, in place of given ones")
      ->excludes(given[0])
      ->excludes(given[1])
      ->group(kGroup);
  session
      .add_choice(
          command, "--dispatch", request.dispatch, {"copies", "once-per-node"},
          "What the network carries: each copy of a token, or a token once to each node that it visits (DeepEP)")
      ->default_str(request.dispatch)
      ->group(kGroup);
}

void add_replay_layer(CLI::App& command, Session& session, ReplayRequest& request) {
  ScenarioSources& sources = request.layer.sources;
  constexpr const char* kScenario = "Scenario";
  add_model_source(command, session, "--model", sources.model)->group(kScenario);
  CLI::Option* plan =
      command
          .add_option("--plan", request.plan,
                      "A plan whose EP group, batch and expert slots are taken, with its model, cluster and trace")
          ->option_text("PLAN")
          ->group(kScenario);
  add_cluster_source(command, session, "--cluster", sources.cluster)->group(kScenario);
  add_nodes(command, sources.nodes)->group(kScenario);
  add_trace_source(command, session, "--trace", sources.trace)->group(kScenario);
  add_import_options(command, session, sources.import);
  add_profile_option(command, sources.profiles)->group(kScenario);
  const auto number = [&](const char* name, auto& target, std::int64_t most, const char* description) {
    return command.add_option(name, target, description)
        ->option_text("N")
        ->check(CLI::Range(std::int64_t{1}, most))
        ->excludes(plan)
        ->group("Layer");
  };
  number("--hidden", request.layer.hidden, ShapeLimits::kHidden, "Width of the tokens, where no model is named");
  number("--expert-width", request.layer.expert_width, ShapeLimits::kWidth, "Intermediate size of an expert");
  number("--experts", request.layer.experts, ShapeLimits::kExperts,
         "How many there are; --top-k says how many a token uses, 2");
  command.add_flag("--gated", request.layer.gated, "Experts of three matrices (SwiGLU) instead of two")
      ->excludes(plan)
      ->group("Layer");
  number("--ep", request.layer.ep, kLargestWorld,
         "Devices that share the experts, the first of the cluster; as many as experts and devices allow");
  number("--batch", request.batch, 1'000'000, "Sequences of a device in one micro-batch; with --seq, else as recorded");
  number("--seq", request.seq, 100'000'000, "Tokens of a sequence");
  number("--micro-batches", request.micro_batches, 100'000, "Of an iteration; as recorded");
  command
      .add_option("--layer-times", request.layer_times,
                  "Measured times of a layer (docs/placement.md), to be fitted in place of the cluster's laws")
      ->option_text("FILE.csv")
      ->group("Layer");
  std::vector<std::string> precisions;
  for (const PrecisionRecipe& recipe : precision_recipes()) precisions.emplace_back(recipe.name);
  session
      .add_choice(command, "--precision", request.layer.precision, std::move(precisions), "How it computes and stores")
      ->default_str(request.layer.precision)
      ->excludes(plan)
      ->group("Layer");
}

// Of a recording without token rows those that look at counts only.
Result<std::vector<const PlacementPolicy*>> chosen_policies(const ReplayRequest& request, bool has_tokens) {
  const auto all = placement_policies();
  std::vector<const PlacementPolicy*> chosen{all.front()};
  for (const PlacementPolicy* policy : all.subspan(1))
    if (request.policies.empty() && (has_tokens || !policy->needs_tokens())) chosen.push_back(policy);
  for (const std::string& name : request.policies) {
    Result<const PlacementPolicy*> policy = find_placement_policy(name);
    if (!policy) return usage_error("--policies: " + policy.error().what, policy.error().hint);
    if (const Status good = check_tokens(**policy, has_tokens); !good)
      return usage_error("--policies: " + good.error().what, good.error().hint);
    if (std::find(chosen.begin(), chosen.end(), *policy) == chosen.end()) chosen.push_back(*policy);
  }
  return chosen;
}

// The devices of the EP group: the first of the cluster.
Result<int> ep_devices(const ReplayRequest& request, const LayerScenario& layer) {
  const int world = layer.scenario.view->ranks();
  const std::int64_t experts = layer.model.first_moe()->experts;
  if (request.layer.ep == 0) return static_cast<int>(std::gcd(experts, std::int64_t{world}));
  if (request.layer.ep > world)
    return usage_error(fmt::format("--ep: {} devices, the cluster has {}", request.layer.ep, world),
                       "give it more --nodes");
  if (request.layer.ep > experts)
    return usage_error(fmt::format("--ep: {} devices for {} experts", request.layer.ep, experts));
  return request.layer.ep;
}

Result<LayerTimeModel> model_of(const ReplayRequest& request, const LayerScenario& layer, const ReplayTrace& trace) {
  std::vector<RankId> ranks;
  for (int i = 0; i < trace.devices(); ++i) ranks.emplace_back(i);
  LayerLawRequest laws;
  laws.hidden = layer.model.hidden;
  laws.moe = *layer.model.first_moe();
  MOESIM_ASSIGN(laws.precision, find_precision(request.layer.precision));
  laws.largest_rows = trace.tokens_per_device() * laws.moe.top_k * trace.devices();
  return layer_time_model(*layer.scenario.costs, ranks, laws);
}

// What the recording is asked about: the first devices of the cluster with the given sizes, or the EP group of the plan.
Status map_recording(const ReplayRequest& request, const SelectionTrace& recording, ReplayScenario& result) {
  const ModelShape& model = result.layer.scenario.model.shape;
  if (result.plan) {
    const Plan& plan = result.plan->plan;
    if (Status good = check_plan(plan, model, result.layer.scenario.view->ranks()); !good) {
      if (good.error().where.empty()) good.error().where = request.plan;
      return good;
    }
    MOESIM_ASSIGN(PlanReplay replay, replay_of_plan(plan, model, *result.layer.scenario.costs, recording));
    replay.put_into(result.options);
    result.trace = std::move(replay.trace);
    result.model = std::move(replay.model);
    if (!plan.expert_slots.in_order())
      result.layer.scenario.notes.emplace_back("contiguous stands for the expert_slots of the plan");
    return {};
  }
  MOESIM_ASSIGN(const int devices, ep_devices(request, result.layer));
  const MoeShape& moe = *result.layer.model.first_moe();
  if (recording.experts() != moe.experts)
    return invalid_input(fmt::format("the recording has {} experts, the layer {}", recording.experts(), moe.experts),
                         recording.info.source, "which expert is hot cannot be made up for another number of them");
  const bool plain = request.layer.sources.model.empty();
  MOESIM_ASSIGN(result.trace, ReplayTrace::map(recording, {.devices = devices,
                                                           .moe_layers = plain ? 0 : result.layer.moe_layers,
                                                           .top_k = moe.top_k,
                                                           .tokens_per_device = request.batch * request.seq,
                                                           .micro_batches = request.micro_batches}));
  MOESIM_ASSIGN(result.model, model_of(request, result.layer, result.trace));
  result.options.expert_groups = static_cast<int>(moe.groups);
  return {};
}

Status check_dispatch(const ReplayRequest& request, bool has_tokens) {
  if (request.dispatch == "copies") return {};
  if (!has_tokens)
    return usage_error(
        "--dispatch once-per-node: on how many nodes a token's experts stand is not known from counts by expert",
        "take a recording with a row for each token (docs/traces.md), or leave it out");
  if (request.options.spare_slots > 0)
    return usage_error("--dispatch once-per-node: which of several copies a token goes to is not modelled there",
                       "leave --spare-slots out");
  if (!request.layer_times.empty())
    return usage_error("--dispatch once-per-node: --layer-times are those of exchanges of copies", "leave one out");
  return {};
}

void note_tokens(const TokenSample& tokens, const ReplayTrace& trace, std::vector<std::string>& notes) {
  if (tokens.empty()) {
    notes.emplace_back(
        "the recording has counts by expert only: on how many nodes a token's experts stand, and what co-activation "
        "would make of it, is not known");
    return;
  }
  std::int64_t seen = 0;
  std::int64_t kept = 0;
  for (int step = 0; step < trace.steps(); ++step)
    for (int layer = 0; layer < trace.layers(); ++layer) {
      seen += trace.tokens(step, layer)->seen;
      kept += static_cast<std::int64_t>(trace.tokens(step, layer)->size());
    }
  if (kept < seen)
    notes.push_back(fmt::format("nodes and devices a token are those of an even sample of {} of {} rows", kept, seen));
}

Status check_sources(const ScenarioSources& sources) {
  if (sources.cluster.empty()) return usage_error("no cluster is named", "give --cluster, or a --plan that names one");
  if (sources.trace.empty()) return usage_error("no recording is named", "give --trace, or a --plan that names one");
  return {};
}

}  // namespace

std::array<CLI::Option*, 3> add_period_options(CLI::App& command, PlacementReplayOptions& options) {
  return {command.add_option("--period", options.period, "Iterations from one decision to the next")
              ->option_text("N")
              ->check(CLI::Range(std::int64_t{1}, kLongestPeriod))
              ->default_str(fmt::format("{}", options.period)),
          command
              .add_option("--hysteresis", options.hysteresis,
                          "A proposal is taken when what it replaces is worse by more than this factor")
              ->option_text("F")
              ->check(number_in(1.0, 1000.0))
              ->default_str(fmt::format("{}", options.hysteresis)),
          command
              .add_option("--spare-slots", options.spare_slots,
                          "Experts that a device has memory for beyond its share: room for copies")
              ->option_text("N")
              ->check(CLI::Range(0, 1024))
              ->default_str("0")};
}

void add_replay_options(CLI::App& command, Session& session, ReplayRequest& request) {
  add_replay_layer(command, session, request);
  add_replay_decisions(command, session, request);
  constexpr const char* kGroup = "Results";
  session
      .add_choice(command, "--rows", request.rows, {"policies", "steps"},
                  "What CSV and JSON lines hold: a row per policy, or per policy and recorded step")
      ->default_str(request.rows)
      ->group(kGroup);
  command.add_option("--plot", request.plot, "Write a figure, SVG or PNG: the time of an iteration over the recording")
      ->option_text("FILE.svg|png")
      ->group(kGroup);
  command
      .add_option("--plan-out", request.plan_out,
                  "Write --plan with experts where the policy leaves them, for moeexec run --switch-to")
      ->option_text("FILE")
      ->needs(command.get_option("--plan"))
      ->group(kGroup);
  command.add_option("-j,--jobs", request.jobs, "Threads; the result does not depend on it")
      ->option_text("N")
      ->check(CLI::Range(1, 1024))
      ->group(kGroup);
}

Result<ReplayScenario> load_replay_scenario(const ReplayRequest& request) {
  if ((request.batch > 0) != (request.seq > 0))
    return usage_error("--batch and --seq together say how many tokens a device has", "give both or neither");
  ReplayScenario result;
  MOESIM_TRY(chosen_policies(request, true));  // before anything is read
  LayerRequest layer = request.layer;
  if (!request.plan.empty()) {
    MOESIM_ASSIGN(result.plan, read_plan_file(request.plan));
    layer.sources = sources_for(request.plan, *result.plan, layer.sources);
  }
  MOESIM_TRY(check_sources(layer.sources));
  const std::string trace = std::exchange(layer.sources.trace, {});  // read once, below
  layer.sources.import = {};
  layer.sources.import.top_k = layer.sources.model.empty() ? request.layer.sources.import.top_k : 0;
  MOESIM_ASSIGN(result.layer, load_layer_scenario(layer));
  Scenario& scenario = result.layer.scenario;
  scenario.sources.trace = trace;
  std::erase(scenario.notes, kBalancedRoutingNote);  // what is played are the recording's counts

  const RoutingSource source{trace, -1, request.layer.sources.import, &scenario.model.shape};
  TokenSample tokens;
  MOESIM_ASSIGN(const SelectionTrace recording, load_recording(source, scenario.notes, &tokens));
  MOESIM_ASSIGN(result.policies, chosen_policies(request, !tokens.empty()));
  MOESIM_TRY(check_dispatch(request, !tokens.empty()));
  result.options = request.options;
  MOESIM_TRY(map_recording(request, recording, result));
  result.trace.attach(recording, tokens);
  note_tokens(tokens, result.trace, scenario.notes);
  scenario.notes.insert(scenario.notes.end(), result.trace.notes().begin(), result.trace.notes().end());
  if (!request.layer_times.empty()) {
    MOESIM_ASSIGN(result.fit, fit_layer_times_file(request.layer_times, result.trace, result.model));
    result.model = result.fit->model;
  }
  MOESIM_ASSIGN(result.options.predictor, parse_predictor(request.predictor));
  result.options.dispatch = request.dispatch == "copies" ? TokenDispatch::kCopies : TokenDispatch::kOncePerNode;
  result.options.accept = request.accept == "load"      ? AcceptRule::kLoad
                          : request.accept == "promise" ? AcceptRule::kPromise
                                                        : AcceptRule::kTime;
  result.options.switching = request.switching == "serial" ? SwitchOrder::kSerial : SwitchOrder::kBatched;
  result.options.optimizer = request.optimizer == "stays" ? OptimizerState::kStays : OptimizerState::kMoves;
  return result;
}

}  // namespace moesim
