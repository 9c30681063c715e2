// moesim calibrate

#include <fmt/format.h>

#include <memory>

#include "calibration/import/observations.hpp"
#include "calibration/profile_fit.hpp"
#include "models/cluster/cluster_source.hpp"
#include "sim/cli/commands/commands.hpp"
#include "sim/cli/sources.hpp"

namespace moesim {
namespace {

struct CalibrateRequest {
  std::vector<std::string> files;
  std::string cluster;
  int nodes = 0;
  bool json = false;
};

MetricValue if_any(int points, double value) { return points > 0 ? MetricValue(value) : MetricValue(); }

MetricTable error_table(const std::vector<KindErrors>& errors) {
  MetricTable table(
      {{"kind", MetricUnit::kNone, "kind", "Of operation"},
       {"points", MetricUnit::kNone, "points", "Measurements"},
       {"median", MetricUnit::kRatio, "median error", "Of |predicted / measured - 1|, over its own measurements"},
       {"p90", MetricUnit::kRatio, "90th percentile", "Of the same"},
       {"bias", MetricUnit::kRatio, "bias", "Median of predicted / measured - 1"},
       {"held_out_points", MetricUnit::kNone, "held out", "Measurements that a second fit did not see"},
       {"held_out_median", MetricUnit::kRatio, "median error", "Of that fit over those"},
       {"held_out_p90", MetricUnit::kRatio, "90th percentile", "Of the same"}});
  for (const KindErrors& one : errors)
    table.add_row({one.kind, std::int64_t{one.points}, one.median, one.p90, one.bias, std::int64_t{one.held_out_points},
                   if_any(one.held_out_points, one.held_out_median), if_any(one.held_out_points, one.held_out_p90)});
  return table;
}

RunResult run_calibrate(Session& session, const CalibrateRequest& request) {
  MOESIM_TRY(check_new_file(session.output().file, session.overwrite()));
  MOESIM_ASSIGN(const ClusterSpec spec, load_cluster(request.cluster, request.nodes));
  MOESIM_ASSIGN(ClusterView compiled, compile(spec));
  const auto view = std::make_shared<const ClusterView>(std::move(compiled));
  Report report = session.new_report();
  report.inputs.push_back(input_record("cluster", request.cluster));
  std::vector<Observations> files;
  for (const std::string& file : request.files) {
    MOESIM_ASSIGN(Observations observations, load_observations(file));
    files.push_back(std::move(observations));
    report.inputs.push_back(input_record("measurements", file));
  }
  MOESIM_ASSIGN(const CalibratedProfile result, calibrate(files, view));
  MOESIM_TRY(session.emit_text(profile_json(result.profile)));
  report.add_rows("errors", fmt::format("Profile of {}", result.profile.device), error_table(result.errors));
  report.notes = result.notes;
  report.notes.push_back(fmt::format("use it with --profile {}", session.output().file));
  // To stdout: the file of -o is the profile.
  MOESIM_TRY(write_output("-", render(report, request.json ? OutputFormat::kJson : OutputFormat::kTable, {}),
                          Overwrite::kRefuse));
  return kExitOk;
}

}  // namespace

void add_calibrate(CLI::App& app, Session& session) {
  CLI::App* command =
      app.add_subcommand("calibrate", "Fits the cost laws to measurements and writes them as a profile");
  command->footer(
      "moeexec bench --ranks 2 -o bench.json\n"
      "moesim calibrate bench.json --cluster cluster.json -o profile.json\n"
      "# logs of nccl-tests on two nodes of a preset\n"
      "moesim calibrate all_reduce.log alltoall.json --cluster preset:h100 --nodes 2 -o h100.json\n"
      "moesim rank --model zoo:mixtral-8x7b --cluster preset:h100 --nodes 2 --profile h100.json");
  auto request = std::make_shared<CalibrateRequest>();
  command
      ->add_option("files", request->files,
                   "Files of moeexec bench, output of nccl-tests (text or JSON), or CSV (docs/calibration.md)")
      ->option_text("FILE...")
      ->required();
  add_cluster_source(*command, session, "--cluster", request->cluster)->required();
  add_nodes(*command, request->nodes);
  command->add_flag("--json", request->json, "The errors of the fit as JSON")->group("Output");
  session.add_file_options(*command, FileOption::kRequired);
  session.run_when_chosen(*command, [&session, request] { return run_calibrate(session, *request); });
}

}  // namespace moesim
