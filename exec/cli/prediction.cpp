#include "exec/cli/prediction.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "calibration/profile.hpp"
#include "models/cluster/cluster_source.hpp"
#include "models/cost/law_parameters.hpp"
#include "sim/cli/sources.hpp"

namespace moesim {
namespace {

// By call and operation, of one rank.
using WaitTable = std::vector<std::vector<Seconds>>;

// The executor runs each piece of a fused kernel as a kernel of its own, and so it is predicted.
Program with_kernels_apart(Program program) {
  for (Block& block : program.blocks)
    for (Op& op : block.ops) op.fusion = Fusion::kNone;
  return program;
}

}  // namespace

Seconds seconds_of(Picoseconds time) { return Seconds(static_cast<double>(time) / kPicosecondsPerSecond); }

void add_prediction_options(CLI::App& command, Session& session, PredictionOptions& options) {
  constexpr const char* kGroup = "Prediction";
  add_cluster_source(command, session, "--cluster", options.cluster)->group(kGroup);
  add_nodes(command, options.nodes)->group(kGroup);
  add_profile_option(command, options.profiles)->group(kGroup);
}

Result<Prediction> predict(const PredictionOptions& options, const Job& job, const JobOptions& how) {
  const bool own = options.cluster.empty();
  const std::string& source = own ? job.file.cluster : options.cluster;
  MOESIM_ASSIGN(const ClusterSpec spec,
                load_cluster(source, own && options.nodes == 0 ? job.file.nodes : options.nodes));
  MOESIM_ASSIGN(ClusterView view, compile(spec));
  const int ranks = job.program.layout->world();
  if (view.ranks() != ranks)
    return usage_error(fmt::format("the plan is for {} ranks, and {} has {}", ranks, source, view.ranks()),
                       "give --cluster and --nodes as the machines are that execute the plan");
  MOESIM_ASSIGN(const std::vector<Profile> profiles, load_profiles(options.profiles));
  Prediction prediction;
  prediction.view = std::make_unique<const ClusterView>(std::move(view));
  prediction.notes = notes_of_other_devices(options.profiles, profiles, device_names(*prediction.view), "the cluster");
  prediction.costs = std::make_unique<const CostModel>(make_cost_model(*prediction.view, profiles));
  prediction.priced = price(with_kernels_apart(job.program), *prediction.costs, {.folding = Folding::kEveryRank});
  if (how.compute == "wait") prediction.priced.replay.compute_slowdown = prediction.priced.replay.share_slowdown = 1;
  ReplayResult replayed = replay(prediction.priced.replay, {.record_intervals = true});
  if (!replayed.finished) return fail(ErrorKind::kInternal, "the step that is to be executed cannot finish");
  prediction.intervals = std::move(replayed.intervals);
  for (Interval& interval : prediction.intervals)
    interval.entity = static_cast<std::uint32_t>(prediction.priced.entities[interval.entity].representative.value());
  prediction.step = seconds_of(replayed.end);
  return prediction;
}

RankWaits waits_for(const Prediction& prediction, const Job& job) {
  const auto tables = std::make_shared<std::vector<WaitTable>>();
  for (int rank = 0; rank < job.program.layout->world(); ++rank) {
    WaitTable& table = tables->emplace_back();
    for (const Call& call : job.program.stages[job.program.layout->stage(RankId(rank)).index()].calls)
      table.emplace_back(job.program.block_of(call).ops.size());
  }
  for (const Interval& interval : prediction.intervals) {
    (*tables)[interval.entity][interval.call][interval.op] = seconds_of(interval.end - interval.start);
  }
  return [tables](RankId rank) -> OperationWaits {
    return [tables, rank](std::int32_t call, std::int32_t op) {
      return (*tables)[rank.index()][static_cast<std::size_t>(call)][static_cast<std::size_t>(op)];
    };
  };
}

}  // namespace moesim
