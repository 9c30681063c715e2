// moesim trace info | convert | rewrite | synth

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/unit_parser.hpp"
#include "sim/cli/commands/commands.hpp"
#include "sim/cli/number_range.hpp"
#include "sim/cli/sources.hpp"
#include "traces/info.hpp"
#include "traces/rewrite.hpp"

namespace moesim {
namespace {

MetricValue or_unknown(std::int64_t value) { return value > 0 ? MetricValue(value) : MetricValue(); }
MetricValue or_unknown(const std::string& text) { return text.empty() ? MetricValue() : MetricValue(text); }
MetricValue or_unknown(std::optional<double> value) { return value ? MetricValue(*value) : MetricValue(); }
std::int64_t whole(std::uint64_t value) { return static_cast<std::int64_t>(value); }

MetricTable trace_record(const std::string& path, const TraceInfo& info, const TraceStatistics& s) {
  return record_of(
      {{{"path", MetricUnit::kNone, "trace", "As given"}, path},
       {{"format", MetricUnit::kNone, "format", "The importer that read it"}, info.format},
       {{"origin", MetricUnit::kNone, "origin", "Recorded, synthetic (made up by a generator) or what-if (rewritten)"},
        std::string(name_of(info.origin))},
       {{"phase", MetricUnit::kNone, "phase", "Training or inference"}, std::string(name_of(info.phase))},
       {{"model", MetricUnit::kNone, "model", "As its side file says"}, or_unknown(info.model)},
       {{"iterations", MetricUnit::kNone, "iterations", "Recorded steps"}, whole(s.iterations)},
       {{"first_iteration", MetricUnit::kNone, "first iteration", "Label of the first"}, s.first_iteration},
       {{"last_iteration", MetricUnit::kNone, "last iteration", "Label of the last"}, s.last_iteration},
       {{"layers", MetricUnit::kNone, "MoE layers", "Layers with selections"}, whole(s.layers.size())},
       {{"micro_batches", MetricUnit::kNone, "micro-batches", "Per step"}, whole(s.micro_batches)},
       {{"source_ranks", MetricUnit::kNone, "source ranks", "Ranks counted apart; none: summed over ranks"},
        or_unknown(whole(s.source_ranks))},
       {{"experts", MetricUnit::kNone, "experts", "Per layer"}, std::int64_t{s.experts}},
       {{"top_k", MetricUnit::kNone, "top-k", "Experts per token"}, or_unknown(info.top_k)},
       {{"tokens_per_rank_per_microbatch", MetricUnit::kNone, "tokens", "Per source rank and micro-batch"},
        or_unknown(info.tokens_per_rank_per_microbatch)},
       {{"rows", MetricUnit::kNone, "rows", "Of counts"}, whole(s.rows)},
       {{"selections", MetricUnit::kNone, "selections", "Token copies after top-k, all together"}, whole(s.selections)},
       {
           {"capacity_factor", MetricUnit::kNone, "capacity factor", "Of the recorded run"},
           info.capacity_factor > 0 ? MetricValue(info.capacity_factor) : MetricValue(),
       },
       {{"drops", MetricUnit::kNone, "drops", "Counts taken before or after tokens were dropped"},
        std::string(name_of(info.drops))},
       {{"source_symmetric", MetricUnit::kNone, "symmetric sources", "The split over source ranks is made up"},
        info.source_symmetric},
       {{"gate", MetricUnit::kNone, "gate", "That chose"}, or_unknown(info.gate)},
       {{"source", MetricUnit::kNone, "source", "Where the numbers come from"}, or_unknown(info.source)},
       {{"remarks", MetricUnit::kNone, "remarks", "The notes of its side file"}, or_unknown(info.notes)},
       {{"licence", MetricUnit::kNone, "licence", "Of the recording", MetricShown::kMachinesOnly},
        or_unknown(info.licence)}});
}

MetricTable balance_record(const TraceStatistics& s) {
  return record_of(
      {{{"max_over_mean", MetricUnit::kFactor, "busiest expert / mean",
         "Mean over iterations of the mean over layers; 1 is balanced"},
        s.mean.max_over_mean},
       {{"entropy_mean", MetricUnit::kNone, "entropy", "Of the shares of experts, over its maximum; 1 is balanced"},
        s.mean.entropy_mean},
       {{"entropy_min", MetricUnit::kNone, "smallest entropy", "Of any layer and iteration"}, s.mean.entropy_min},
       {{"top1_share", MetricUnit::kRatio, "top-1 share", "Of the busiest expert"}, s.mean.top1_share},
       {{"top2_share", MetricUnit::kRatio, "top-2 share", "Of the two busiest"}, s.mean.top2_share},
       {{"top4_share", MetricUnit::kRatio, "top-4 share", "Of the four busiest"}, s.mean.top4_share},
       {{"zero_count_experts", MetricUnit::kNone, "idle experts", "Chosen by nobody, over all iterations and layers"},
        whole(s.mean.zero_count_experts)},
       {{"rank_cv", MetricUnit::kNone, "CV over ranks", "How much source ranks differ"}, or_unknown(s.rank_cv.value())},
       {{"rank_cv_settled", MetricUnit::kNone, "CV over ranks, settled", "The same from settled_from on"},
        or_unknown(s.rank_cv_settled.value())},
       {{"settled_from", MetricUnit::kNone, "settled from", "Iteration from which the gate counts as settled"},
        s.settled_from}});
}

MetricTable locality_table(const TraceStatistics& s) {
  MetricTable table({{"lag", MetricUnit::kNone, "lag", "Iterations apart"},
                     {"cosine", MetricUnit::kNone, "cosine", "Likeness of the counts of two iterations; 1 is equal"},
                     {"cosine_settled", MetricUnit::kNone, "settled", "The same, both iterations settled"},
                     {"pairs", MetricUnit::kNone, "pairs", "Pairs of iterations compared"}});
  for (const LagStatistics& lag : s.lags)
    if (lag.cosine.count > 0)
      table.add_row(
          {lag.lag, or_unknown(lag.cosine.value()), or_unknown(lag.cosine_settled.value()), whole(lag.cosine.count)});
  return table;
}

MetricTable device_table(const TraceStatistics& s) {
  MetricTable table(
      {{"ep", MetricUnit::kNone, "EP", "Devices, each with a run of neighbouring experts"},
       {"max_over_mean", MetricUnit::kFactor, "busiest device / mean", "Mean over layers and iterations"}});
  for (const DeviceBalance& device : s.devices)
    table.add_row({std::int64_t{device.ep}, or_unknown(device.max_over_mean.value())});
  return table;
}

MetricTable layer_table(const TraceStatistics& s) {
  MetricTable table({{"layer", MetricUnit::kNone, "layer", "As the trace labels it"},
                     {"max_over_mean", MetricUnit::kFactor, "busiest / mean", "Mean over iterations"},
                     {"entropy", MetricUnit::kNone, "entropy", "Mean over iterations"}});
  for (const LayerStatistics& layer : s.layers)
    table.add_row({std::int64_t{layer.layer}, layer.max_over_mean, layer.entropy});
  return table;
}

MetricTable step_table(const TraceStatistics& s) {
  MetricTable table({{"iteration", MetricUnit::kNone, "iteration", "As the trace labels it"},
                     {"selections", MetricUnit::kNone, "selections", "Token copies"},
                     {"max_over_mean", MetricUnit::kFactor, "busiest / mean", "Mean over layers"},
                     {"entropy_mean", MetricUnit::kNone, "entropy", "Mean over layers"},
                     {"entropy_min", MetricUnit::kNone, "smallest entropy", "Of any layer"},
                     {"top1_share", MetricUnit::kRatio, "top-1", "Mean over layers"},
                     {"top2_share", MetricUnit::kRatio, "top-2", "Mean over layers"},
                     {"top4_share", MetricUnit::kRatio, "top-4", "Mean over layers"},
                     {"zero_count_experts", MetricUnit::kNone, "idle experts", "Over all layers"}});
  for (const StepStatistics& step : s.steps)
    table.add_row({step.iteration, whole(step.selections), step.max_over_mean, step.entropy_mean, step.entropy_min,
                   step.top1_share, step.top2_share, step.top4_share, whole(step.zero_count_experts)});
  return table;
}

RowTone tone_of(Severity severity) {
  return severity == Severity::kError || severity == Severity::kDataLoss ? RowTone::kBad : RowTone::kPlain;
}

MetricTable finding_table(const Findings& findings) {
  MetricTable table({{"severity", MetricUnit::kNone, "severity", "info, notice, data_loss or error"},
                     {"code", MetricUnit::kNone, "code", "Stable name"},
                     {"count", MetricUnit::kNone, "count", "Occurrences"},
                     {"first_place", MetricUnit::kNone, "first at", "Place of the first"},
                     {"explanation", MetricUnit::kNone, "explanation", "What it means"}});
  for (const Finding& finding : findings.list())
    table.add_row({std::string(name_of(finding.severity)), finding.code, whole(finding.count),
                   or_unknown(finding.first_place), finding.explanation},
                  tone_of(finding.severity));
  return table;
}

RunResult show_info(Session& session, const std::string& path, const ImportOptions& import) {
  MOESIM_TRY(session.check_output());
  MOESIM_ASSIGN(const TraceDescription trace, describe_trace(path, import));
  Report report = session.new_report();
  report.inputs.push_back(input_record("trace", path));
  const TraceStatistics& s = trace.statistics;
  report.add_record("trace", "", trace_record(path, trace.info, s));
  report.add_record("balance", "Balance", balance_record(s));
  report.add_rows("devices", "Balance over devices", device_table(s));
  report.add_rows("locality", "Locality in time", locality_table(s));
  report.add_rows("layers", "Layers", layer_table(s)).shown = SectionShown::kMachinesOnly;
  report.add_rows("steps", "Iterations", step_table(s)).shown = SectionShown::kMachinesOnly;
  report.add_rows("findings", "Findings", finding_table(trace.findings));
  MOESIM_TRY(session.emit(report));
  return trace.exit_code();
}

struct ConvertRequest {
  std::string from;
  std::string to;
  std::string rows = "counts";
  ImportOptions import;
};

// What an import noticed, on stderr because the result is a file.
void tell_findings(const Session& session, const Findings& findings) {
  for (const Finding& finding : findings.list())
    session.say(
        fmt::format("{}: {} x {}: {}", name_of(finding.severity), finding.count, finding.code, finding.explanation));
}

// A trace is two files: the rows, and beside them what they are.
Status check_trace_output(const Session& session) {
  const std::string& to = session.output().file;
  MOESIM_TRY(check_new_file(to, session.overwrite()));
  return check_new_file(to + ".json", session.overwrite());
}

RunResult convert(Session& session, const ConvertRequest& request) {
  const std::string& to = session.output().file;
  MOESIM_TRY(check_trace_output(session));
  const TraceRows rows = request.rows == "tokens" ? TraceRows::kTokens : TraceRows::kCounts;
  MOESIM_ASSIGN(const ConversionReport done, convert_trace(request.from, to, rows, request.import));
  tell_findings(session, done.findings);
  session.say(fmt::format("wrote {} and {}.json: {} rows of counts read", to, to, done.rows));
  return done.findings.worst() == Severity::kError ? static_cast<int>(ErrorKind::kInvalidInput) : kExitOk;
}

struct RewriteRequest {
  std::string from;
  std::string gate = "swipe";
  TopologyGate topology;
  std::string local_rate, node_rate;
  ImportOptions import;
  std::vector<const CLI::Option*> of_topology;  // that no other gate has a use for
};

Result<BytesPerSecond> rate_of_option(const std::string& option, const std::string& text) {
  const Result<BytesPerSecond> rate = parse_bytes_per_second(text);
  if (!rate) return usage_error(fmt::format("{}: {}", option, rate.error().what), rate.error().hint);
  if (rate->value() > 0) return *rate;
  return usage_error(fmt::format("{} is {}, and nothing would ever arrive", option, text), "give a rate above zero");
}

// The fraction that was given, or the one with which both networks take equally long.
Result<double> fraction_of(const RewriteRequest& request) {
  if (request.local_rate.empty() && request.node_rate.empty()) return request.topology.fraction;
  if (request.local_rate.empty() || request.node_rate.empty())
    return usage_error("one rate alone does not say how much may leave a node", "give --local-rate and --node-rate");
  MOESIM_ASSIGN(const BytesPerSecond local, rate_of_option("--local-rate", request.local_rate));
  MOESIM_ASSIGN(const BytesPerSecond node, rate_of_option("--node-rate", request.node_rate));
  return even_fraction(request.topology.ranks_per_node, local, node);
}

RunResult rewrite(Session& session, RewriteRequest request) {
  const std::string& to = session.output().file;
  for (const CLI::Option* option : request.of_topology)
    if (request.gate != "topology" && option->count() > 0)
      return usage_error(fmt::format("{} is of the topology gate, --gate is {}", option->get_name(), request.gate),
                         "add --gate topology, or leave it out");
  MOESIM_TRY(check_trace_output(session));
  MOESIM_ASSIGN(request.topology.fraction, fraction_of(request));
  MOESIM_ASSIGN(LoadedTrace loaded, load_trace(request.from, request.import));
  tell_findings(session, loaded.findings);
  Result<SelectionTrace> rewritten = request.gate == "swipe"
                                         ? balance_by_swipe(std::move(loaded.trace), {request.topology.ep})
                                         : keep_on_node(std::move(loaded.trace), request.topology);
  if (!rewritten) {
    Error error = rewritten.error();
    if (error.kind == ErrorKind::kInvalidInput) error.where = request.from;  // not where its numbers come from
    return tl::unexpected(std::move(error));
  }
  MOESIM_TRY(write_trace(*rewritten, to));
  session.say(fmt::format("wrote {} and {}.json (what-if): {}", to, to, rewritten->info.gate));
  return loaded.findings.worst() == Severity::kError ? static_cast<int>(ErrorKind::kInvalidInput) : kExitOk;
}

struct SynthRequest {
  std::string law = "dirichlet";
  SynthesisRequest request;
};

RunResult synthesize_to_file(Session& session, SynthRequest synth) {
  const std::string& to = session.output().file;
  MOESIM_TRY(check_trace_output(session));
  MOESIM_ASSIGN(synth.request.law, parse_gate_law(synth.law));
  {
    const std::unique_ptr<ProgressSink> progress = session.progress("synth");
    MOESIM_TRY(synthesize_file(synth.request, to, {progress.get(), Session::stop()}));
  }  // the line of progress ends before more is said
  session.say(fmt::format("wrote {} and {}.json (synthetic)", to, to));
  return kExitOk;
}

CLI::Option* add_number(CLI::App& command, const std::string& name, auto& target, const std::string& description) {
  return command.add_option(name, target, description)->option_text("N")->default_str(fmt::format("{}", target));
}

void add_convert(CLI::App& trace, Session& session) {
  CLI::App* command = trace.add_subcommand("convert", "Rewrites a trace as canonical CSV with a side file");
  command->footer(
      "moesim trace convert smartmoe.tar.zst -o counts.csv.zst\nmoesim trace convert routed.npz --rows tokens -o "
      "tokens.csv");
  auto request = std::make_shared<ConvertRequest>();
  add_trace_source(*command, session, "trace", request->from)->required();
  session.add_choice(*command, "--rows", request->rows, {"counts", "tokens"}, "Sums per expert, or one row per token");
  add_import_options(*command, session, request->import);
  session.add_file_options(*command, FileOption::kRequired);
  session.run_when_chosen(*command, [&session, request] { return convert(session, *request); });
}

void add_rewrite(CLI::App& trace, Session& session) {
  CLI::App* command = trace.add_subcommand("rewrite", "What another gate might have chosen, marked as a what-if");
  command->footer(
      "# every rank of an EP group computes equally many copies\n"
      "moesim trace rewrite bundled:byte-moe-16 --gate swipe -o even.csv.zst\n"
      "# at most 5 % of a rank's tokens leave its node of 2\n"
      "moesim trace rewrite bundled:byte-moe-16 --gate topology --ranks-per-node 2 --fraction 0.05 -o near.csv.zst\n"
      "# as many as take the node's network as long as the others take inside\n"
      "moesim trace rewrite bundled:byte-moe-16 --gate topology --ranks-per-node 2 --local-rate 300GB/s --node-rate "
      "50GB/s -o near.csv.zst");
  auto request = std::make_shared<RewriteRequest>();
  add_trace_source(*command, session, "trace", request->from)->required();
  session
      .add_choice(*command, "--gate", request->gate, {"swipe", "topology"},
                  "swipe: BaGuaLu's balancing; topology: FasterMoE's, tokens stay on their node")
      ->default_str(request->gate);
  add_number(*command, "--ep", request->topology.ep, "Ranks of an expert-parallel group; 0: all source ranks");
  CLI::Option* ranks_per_node = add_number(*command, "--ranks-per-node", request->topology.ranks_per_node,
                                           "topology: neighbouring ranks on a node");
  CLI::Option* fraction = add_number(*command, "--fraction", request->topology.fraction,
                                     "topology: part of a rank's tokens that may leave its node");
  fraction->check(number_in(0.0, 1.0));
  CLI::Option* local =
      command
          ->add_option("--local-rate", request->local_rate, "topology: of a rank inside its node, to find the fraction")
          ->option_text("RATE")
          ->excludes(fraction);
  CLI::Option* network = command->add_option("--node-rate", request->node_rate, "topology: of a node's network")
                             ->option_text("RATE")
                             ->excludes(fraction);
  request->of_topology = {ranks_per_node, fraction, local, network};
  add_import_options(*command, session, request->import);
  session.add_file_options(*command, FileOption::kRequired);
  session.run_when_chosen(*command, [&session, request] { return rewrite(session, *request); });
}

void add_synth(CLI::App& trace, Session& session) {
  CLI::App* command = trace.add_subcommand("synth", "Makes up a trace with a chosen skew, marked synthetic");
  command->footer(
      "# skewed, drifting a little from step to step\n"
      "moesim trace synth --kind zipf --exponent 1.2 --drift 0.05 --steps 20 --experts 64 --top-k 6 -o skewed.csv.zst\n"
      "moesim trace synth --kind hot --hot-share 0.5 --layers 32 -o hot.csv");
  auto synth = std::make_shared<SynthRequest>();
  SynthesisRequest& r = synth->request;
  session
      .add_choice(*command, "--kind,--law", synth->law, {"balanced", "zipf", "dirichlet", "hot"},
                  "How popular experts are")
      ->default_str(synth->law);
  add_number(*command, "--exponent,--zipf-exponent", r.zipf_exponent, "zipf: popularity is 1 / rank^N");
  add_number(*command, "--alpha,--dirichlet-alpha", r.dirichlet_alpha,
             "dirichlet: large is balanced, small is collapsed");
  add_number(*command, "--hot-share", r.hot_share, "hot: share of all selections that one expert has");
  add_number(*command, "--drift", r.drift, "0 to 1: how far popularity moves at each step");
  add_number(*command, "--steps", r.steps, "Iterations");
  add_number(*command, "--layers", r.layers, "MoE layers");
  add_number(*command, "--micro-batches", r.micro_batches, "Per step");
  add_number(*command, "--source-ranks", r.source_ranks, "Ranks that tokens come from");
  add_number(*command, "--experts", r.experts, "Per layer");
  add_number(*command, "--top-k", r.top_k, "Experts per token");
  add_number(*command, "--tokens", r.tokens, "Per source rank and micro-batch");
  add_number(*command, "--first-layer", r.first_layer, "Label of the first layer");
  add_number(*command, "--seed", r.seed, "Same seed, same bytes");
  command->add_option("--model", r.model, "Name of the model, for the side file")->option_text("NAME");
  session.add_file_options(*command, FileOption::kRequired);
  session.run_when_chosen(*command, [&session, synth] { return synthesize_to_file(session, *synth); });
}

}  // namespace

void add_trace(CLI::App& app, Session& session) {
  CLI::App* trace =
      app.add_subcommand("trace", "Recordings of which experts tokens chose: look, convert, rewrite, make up");
  trace->require_subcommand(1);

  CLI::App* info = trace->add_subcommand("info", "Shape, balance and temporal locality of a trace");
  info->footer("moesim trace info recording.csv.zst\nmoesim trace info bundled:byte-moe-8-balanced --json");
  auto path = std::make_shared<std::string>();
  auto import = std::make_shared<ImportOptions>();
  add_trace_source(*info, session, "trace", *path)->required();
  add_import_options(*info, session, *import);
  session.add_output_options(*info);
  session.run_when_chosen(*info, [&session, path, import] { return show_info(session, *path, *import); });

  add_convert(*trace, session);
  add_rewrite(*trace, session);
  add_synth(*trace, session);
}

}  // namespace moesim
