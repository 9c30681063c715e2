// moesim replay

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <thread>

#include "base/text.hpp"
#include "sim/cli/commands/commands.hpp"
#include "sim/cli/commands/replay_options.hpp"
#include "sim/placement/figure.hpp"
#include "sim/placement/plan_replay.hpp"

namespace moesim {
namespace {

// Beyond this a single expert is what keeps devices apart.
constexpr double kUnevenBound = 1.1;

struct ReplayRow {
  PolicyReplay replay;
  std::int64_t period = 0;
  double hysteresis = 1;
};

int replay_threads(const ReplayRequest& request) {
  return request.jobs > 0 ? request.jobs : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

std::vector<ReplayRow> play_policies(const ReplayRequest& request, const ReplayScenario& scenario) {
  const int threads = replay_threads(request);
  std::vector<ReplayRow> rows;
  if (!request.search) {
    for (PolicyReplay& replay :
         replay_policies(scenario.trace, scenario.model, scenario.policies, scenario.options, threads))
      rows.push_back({std::move(replay), scenario.options.period, scenario.options.hysteresis});
    return rows;
  }
  const TuningSpace space = default_tuning_space(scenario.trace);
  for (const PlacementPolicy* policy : scenario.policies) {
    if (policy == scenario.policies.front()) {  // which never decides
      rows.push_back({replay_policy(scenario.trace, scenario.model, *policy, scenario.options), 0, 1});
      continue;
    }
    TunedReplay best = tune_policy(scenario.trace, scenario.model, *policy, scenario.options, space, threads);
    rows.push_back({std::move(best.replay), best.period, best.hysteresis});
  }
  return rows;
}

MetricTable policy_table(const ReplayScenario& scenario, const std::vector<ReplayRow>& rows,
                         const ReplayBounds& bounds) {
  const bool has_tokens = scenario.trace.tokens(0, 0) != nullptr;
  const MetricShown shown = has_tokens ? MetricShown::kEverywhere : MetricShown::kMachinesOnly;
  MetricTable table(
      {{"policy", MetricUnit::kNone, "policy", "Of docs/placement.md"},
       {"iteration_s", MetricUnit::kSeconds, "MoE time", "Of the MoE layers in one iteration, switches included; mean"},
       {"speedup", MetricUnit::kFactor, "speed-up", "Over experts that never move"},
       {"regret", MetricUnit::kRatio, "over oracle", "How much longer than what no placement can beat"},
       {"max_over_mean", MetricUnit::kFactor, "busiest / mean", "Rows of devices, mean over layers and micro-batches"},
       {"changes", MetricUnit::kNone, "changes", "Of the placement of a layer"},
       {"decisions", MetricUnit::kNone, "", "Times that a layer was asked about", MetricShown::kMachinesOnly},
       {"stops", MetricUnit::kNone, "", "Times that a layer went back to static for what it had lost",
        MetricShown::kMachinesOnly},
       {"moves", MetricUnit::kNone, "moves", "Experts whose weights were sent to another device"},
       {"moved_bytes", MetricUnit::kBytes, "moved", "Weights and optimizer states"},
       {"switching_s", MetricUnit::kSeconds, "switching", "Altogether"},
       {"switching_share", MetricUnit::kRatio, "", "Of all time", MetricShown::kMachinesOnly},
       {"copies", MetricUnit::kNone, "copies", "Of experts beyond one, of a layer, mean"},
       {"copies_s", MetricUnit::kSeconds, "for copies", "Their gradients and weights, of one iteration"},
       {"shadowed", MetricUnit::kNone, "shadowed", "Experts of a layer, mean"},
       {"nodes_per_token", MetricUnit::kNone, "nodes / token", "On which its experts stand, mean", shown},
       {"devices_per_token", MetricUnit::kNone, "devices / token", "On which its experts stand, mean", shown},
       {"nodes_error", MetricUnit::kNone, "", "Standard error of nodes / token, 0 where every row was kept",
        MetricShown::kMachinesOnly},
       {"period", MetricUnit::kNone, "every", "Iterations between decisions"},
       {"hysteresis", MetricUnit::kNone, "hysteresis", "Of the rule that takes a proposal"}});
  const double weight = [&] {
    double sum = 0;
    for (int step = 0; step < scenario.trace.steps(); ++step) sum += scenario.trace.weight(step);
    return sum;
  }();
  const Seconds still = rows.front().replay.mean_iteration;
  const auto fastest = std::min_element(rows.begin(), rows.end(), [](const ReplayRow& a, const ReplayRow& b) {
    return a.replay.mean_iteration < b.replay.mean_iteration;
  });
  for (const ReplayRow& row : rows) {
    const PolicyReplay& r = row.replay;
    const bool decides = &row != &rows.front();
    const auto spread = [&r](double TokenSpread::*part) {
      return r.spread ? MetricValue((*r.spread).*part) : MetricValue();
    };
    table.add_row({std::string(r.policy),
                   r.mean_iteration.value(),
                   still / r.mean_iteration,
                   r.mean_iteration / bounds.mean_oracle - 1,
                   r.max_over_mean,
                   r.changes,
                   r.decisions,
                   r.stops,
                   r.moves,
                   r.moved.count(),
                   r.switching.value(),
                   r.switching / (r.mean_iteration * weight),
                   r.copies,
                   r.mean_copies.value(),
                   r.shadowed,
                   spread(&TokenSpread::nodes),
                   spread(&TokenSpread::devices),
                   spread(&TokenSpread::nodes_error),
                   decides ? MetricValue(row.period) : MetricValue(),
                   decides ? MetricValue(row.hysteresis) : MetricValue()},
                  &row == &*fastest ? RowTone::kGood : RowTone::kPlain);
  }
  return table;
}

MetricTable replay_step_table(const ReplayScenario& scenario, const std::vector<ReplayRow>& rows,
                              const ReplayBounds& bounds) {
  MetricTable table(
      {{"iteration", MetricUnit::kNone, "iteration", "As the recording labels it"},
       {"policy", MetricUnit::kNone, "policy", "Of docs/placement.md, or oracle"},
       {"iteration_s", MetricUnit::kSeconds, "MoE time", "Of the MoE layers in this iteration, without switches"},
       {"switching_s", MetricUnit::kSeconds, "switching", "Of changes before it"},
       {"max_over_mean", MetricUnit::kFactor, "busiest / mean", "Rows of devices, mean over layers"}});
  for (std::size_t step = 0; step < bounds.oracle.size(); ++step) {
    const std::int64_t iteration = scenario.trace.iterations()[step];
    for (const ReplayRow& row : rows) {
      const ReplayStep& s = row.replay.steps[step];
      table.add_row(
          {iteration, std::string(row.replay.policy), s.iteration.value(), s.switching.value(), s.max_over_mean});
    }
    table.add_row({iteration, std::string("oracle"), bounds.oracle[step].value(), 0.0, 1.0});
  }
  return table;
}

// What one policy with copies, in room that may have to be made for them, makes of the recording: no bound, others may beat it.
void add_with_copies(Report& report, const ReplayScenario& scenario, const ReplayBounds& bounds, Seconds still) {
  PlacementReplayOptions with_copies = scenario.options;
  with_copies.spare_slots = std::max(1, with_copies.spare_slots);
  const Result<const PlacementPolicy*> eplb = find_placement_policy("eplb-global");
  MOESIM_ASSERT(eplb.has_value());
  const PolicyReplay copies = replay_policy(scenario.trace, scenario.model, **eplb, with_copies);
  report.add_record("with_copies", "What copies would make of it",
                    record_of({{{"max_over_mean", MetricUnit::kFactor, "busiest / mean",
                                 "Of eplb-global with at least one spare slot a device; other policies may do better"},
                                copies.max_over_mean},
                               {{"iteration_s", MetricUnit::kSeconds, "MoE time", "Of one iteration of it"},
                                copies.mean_iteration.value()}}));
  if (bounds.hot_expert <= kUnevenBound) {
    report.notes.emplace_back("no expert is too hot for one device: a permutation of experts can balance the load");
    return;
  }
  const std::string finding = fmt::format(
      "single experts are too hot for a device: a permutation leaves the busiest one at {:.2f}x the mean at best",
      bounds.hot_expert);
  const std::string room =
      fmt::format("{} spare slot{} a device", with_copies.spare_slots, with_copies.spare_slots == 1 ? "" : "s");
  const double ratio = copies.mean_iteration / still;
  if (copies.max_over_mean >= bounds.hot_expert)
    report.notes.push_back(fmt::format("{}; copies in {}, decided on past counts, do not help here", finding, room));
  else if (ratio < 1)
    report.notes.push_back(
        fmt::format("{}; copies in {} bring it to {:.2f}x, and the time to {:.2f}x of what it is now", finding, room,
                    copies.max_over_mean, ratio));
  else
    report.notes.push_back(fmt::format(
        "{}; copies in {} bring it to {:.2f}x, but with their gradients and moves they take {:.2f}x as long", finding,
        room, copies.max_over_mean, ratio));
}

// Whether moving experts can help at all.
void add_bounds(Report& report, const ReplayScenario& scenario, const ReplayBounds& bounds, Seconds still) {
  report.add_record(
      "bounds", "What the recording allows",
      record_of(
          {{{"oracle_s", MetricUnit::kSeconds, "oracle", "No placement in these slots takes less, of one iteration"},
            bounds.mean_oracle.value()},
           {{"contiguous_max_over_mean", MetricUnit::kFactor, "busiest / mean, static", "Of neighbouring experts"},
            bounds.contiguous},
           {{"hot_expert_bound", MetricUnit::kFactor, "hot-expert bound",
             "No permutation of experts has less of busiest / mean"},
            bounds.hot_expert}}));
  if (scenario.options.dispatch == TokenDispatch::kCopies) add_with_copies(report, scenario, bounds, still);
}

void add_fit(Report& report, const ReplayRequest& request, const LayerFit& fit) {
  report.inputs.push_back(input_record("layer_times", request.layer_times));
  report.add_record(
      "layer_fit", "Fitted to measured layers",
      record_of(
          {{{"mean_error", MetricUnit::kRatio, "error", "Of the fit over the measured layers, mean"}, fit.mean_error},
           {{"fixed_s", MetricUnit::kSeconds, "fixed", "Whatever is routed"}, fit.model.fixed.value()},
           {{"row_s", MetricUnit::kSeconds, "a row", "Of the busiest device, computed"}, fit.per_row.value()},
           {{"copy_s", MetricUnit::kSeconds, "a copy", "Of the busiest port, all exchanges"}, fit.per_copy.value()},
           {{"rows_per_busy_expert", MetricUnit::kNone, "a busy expert",
             "Costs as much as so many rows, however few it has"},
            fit.model.rows_per_busy_expert},
           {{"exchange", MetricUnit::kNone, "exchange", "All slots at once (fused) or slot by slot"},
            std::string(fit.model.rounds == ExchangeRounds::kPerSlot ? "slot by slot" : "fused")}}));
}

// By what the answer was made, and what copies take.
MetricTable rules_record(const ReplayRequest& request, const ReplayScenario& scenario) {
  const LayerTimeModel& model = scenario.model;
  const Bytes copy = model.expert.weights + model.expert.gradients;
  return record_of(
      {{{"devices", MetricUnit::kNone, "devices", "Of the EP group"}, std::int64_t{scenario.trace.devices()}},
       {{"tokens_per_device", MetricUnit::kNone, "tokens", "Of a device in a micro-batch"},
        scenario.trace.tokens_per_device()},
       {{"micro_batches", MetricUnit::kNone, "micro-batches", "Of an iteration"},
        std::int64_t{scenario.trace.micro_batches()} * scenario.options.repeats},
       {{"predictor", MetricUnit::kNone, "predictor", "From past counts to the next ones"},
        std::string(predictor_name(scenario.options.predictor))},
       {{"accept", MetricUnit::kNone, "accept", "What is compared before a proposal is taken"}, request.accept},
       {{"switching", MetricUnit::kNone, "switching", "How experts move"}, request.switching},
       {{"optimizer", MetricUnit::kNone, "optimizer", "Whether its state goes where the expert goes"},
        request.optimizer},
       {{"dispatch", MetricUnit::kNone, "dispatch", "What the network carries of a token"}, request.dispatch},
       {{"spare_slots", MetricUnit::kNone, "spare slots", "Of a device, in each layer"},
        std::int64_t{scenario.options.spare_slots}},
       {{"spare_bytes", MetricUnit::kBytes, "memory for them", "Weights and gradients in the spare slots of a device"},
        (copy * scenario.options.spare_slots * scenario.trace.layers()).count()}});
}

// What a plan can say of the answer: one placement.
Status check_plan_out(const Session& session, const ReplayRequest& request, const ReplayScenario& scenario) {
  if (request.plan_out.empty()) return {};
  MOESIM_TRY(check_writable(request.plan_out, session.overwrite()));
  if (scenario.policies.size() != 2)
    return usage_error("--plan-out: one policy decides what is written", "name one that decides with --policies");
  return {};
}

Status write_moved_plan(const Session& session, const ReplayRequest& request, const ReplayScenario& scenario,
                        const PolicyReplay& replay) {
  if (request.plan_out.empty()) return {};
  PlanFile moved = *scenario.plan;
  MOESIM_ASSIGN(moved.plan.expert_slots, slots_after(replay));
  const ModelShape& model = scenario.layer.scenario.model.shape;
  MOESIM_TRY(check_plan(moved.plan, model, scenario.layer.scenario.view->ranks()));
  MOESIM_ASSIGN(const MoeSchedule* schedule, moe_schedule_of(moved.plan));
  MOESIM_TRY(check_moe_schedule(*schedule, moved.plan, *model.first_moe()));
  MOESIM_TRY(write_output(request.plan_out, plan_to_json(moved, 2) + "\n", session.overwrite()));
  session.say(fmt::format("wrote {}: {} changes by {}", request.plan_out, replay.changes, replay.policy));
  return {};
}

RunResult run_replay(Session& session, const ReplayRequest& request) {
  MOESIM_TRY(session.check_output());
  MOESIM_TRY(check_figure(request.plot, session.overwrite()));
  MOESIM_ASSIGN(const ReplayScenario scenario, load_replay_scenario(request));
  MOESIM_TRY(check_plan_out(session, request, scenario));
  const std::vector<ReplayRow> rows = play_policies(request, scenario);
  const ReplayBounds bounds = replay_bounds(scenario.trace, scenario.model, scenario.options);
  const ReplayTrace& trace = scenario.trace;
  const std::string title = fmt::format(
      "{} MoE layers of {} experts on {} devices, {} recorded steps from iteration {} to {}", trace.layers(),
      trace.experts(), trace.devices(), trace.steps(), trace.iterations().front(), trace.iterations().back());

  Report report = session.new_report();
  if (scenario.plan) report.inputs.push_back(input_record("plan", request.plan));
  if (request.rows == "steps") {
    report.add_rows("steps", title, replay_step_table(scenario, rows, bounds));
    report.add_rows("policies", "Policies", policy_table(scenario, rows, bounds));
  } else {
    report.add_rows("policies", title, policy_table(scenario, rows, bounds));
    report.add_rows("steps", "", replay_step_table(scenario, rows, bounds)).shown = SectionShown::kMachinesOnly;
  }
  add_bounds(report, scenario, bounds, rows.front().replay.mean_iteration);
  Section& rules = report.add_record("rules", "Rules", rules_record(request, scenario));
  if (scenario.options.spare_slots == 0) rules.shown = SectionShown::kMachinesOnly;
  if (scenario.fit) add_fit(report, request, *scenario.fit);
  describe_scenario(report, scenario.layer.scenario);
  report.notes.emplace_back(
      "times are of the experts and their exchanges, forward and backward, without gate and permutation");
  if (!request.plot.empty()) {
    std::vector<PolicyReplay> replays;
    for (const ReplayRow& row : rows) replays.push_back(row.replay);
    MOESIM_TRY(write_figure(request.plot, replay_figure(title, trace, replays, bounds), session.overwrite()));
    session.say(fmt::format("wrote {}", request.plot));
  }
  MOESIM_TRY(write_moved_plan(session, request, scenario, rows.back().replay));
  MOESIM_TRY(session.emit(report));
  return kExitOk;
}

}  // namespace

void add_replay(CLI::App& app, Session& session) {
  CLI::App* command =
      app.add_subcommand("replay", "Expert placement over a recording: policies side by side, moves, what is lost");
  command->footer(
      "# every policy, with memory for one more expert on each device\n"
      "moesim replay --cluster preset:a100 --nodes 2 --hidden 1024 --expert-width 4096 --experts 16 --top-k 2 \\\n"
      "  --trace bundled:byte-moe-16 --batch 4 --seq 2048 --spare-slots 1 --plot replay.svg\n"
      "# how often to decide, and how hard to convince\n"
      "moesim replay --model zoo:mixtral-8x7b --cluster preset:h100 --trace bundled:byte-moe-8-balanced --batch 1 \\\n"
      "  --seq 4096 --policies greedy,shadow --search\n"
      "# the experts of a plan, and the plan after the last decision\n"
      "moesim replay --plan plan.json --trace recording.csv.zst --policies greedy --plan-out moved.json");
  auto request = std::make_shared<ReplayRequest>();
  add_replay_options(*command, session, *request);
  session.add_output_options(*command);
  session.run_when_chosen(*command, [&session, request] { return run_replay(session, *request); });
}

}  // namespace moesim
