#include "exec/cli/ranking.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "exec/run/executable.hpp"
#include "sim/search/search.hpp"

namespace moesim {
namespace {

RankedCandidates choose(std::vector<Candidate> ranked, const RankingOptions& options, std::string_view what) {
  RankedCandidates result;
  for (const std::size_t place : chosen_places(ranked.size(), options.top, options.sample))
    result.chosen.push_back(std::move(ranked[place]));
  result.note = fmt::format(
      "executed the {} best of {} {} and {} of the rest, evenly spread",
      std::min<std::size_t>(ranked.size(), static_cast<std::size_t>(options.top)), ranked.size(), what,
      result.chosen.size() - std::min<std::size_t>(result.chosen.size(), static_cast<std::size_t>(options.top)));
  return result;
}

}  // namespace

void add_ranking_options(CLI::App& command, Session& session, RankingOptions& options) {
  constexpr const char* kGroup = "Ranking";
  command
      .add_flag("--rank", options.rank,
                "Rank the plans given, or all plans of --model on --cluster, and execute some to judge the ranking")
      ->group(kGroup);
  command.add_option("--top", options.top, "With --rank: execute so many of the fastest")
      ->option_text("K [5]")
      ->check(CLI::Range(1, 1000))
      ->group(kGroup);
  command.add_option("--sample", options.sample, "With --rank: and so many of the others")
      ->option_text("N [5]")
      ->check(CLI::Range(0, 1000))
      ->group(kGroup);
  add_batch_options(command, options.space, BatchOption::kOptional);
  add_space_filters(command, session, options.space);
}

std::vector<std::size_t> chosen_places(std::size_t plans, int top, int sample) {
  std::vector<std::size_t> places;
  const std::size_t best = std::min(plans, static_cast<std::size_t>(top));
  for (std::size_t i = 0; i < best; ++i) places.push_back(i);
  const std::size_t rest = plans - best;
  const std::size_t wanted = std::min(rest, static_cast<std::size_t>(sample));
  for (std::size_t i = 0; i < wanted; ++i) places.push_back(best + (2 * i + 1) * rest / (2 * wanted));
  return places;
}

Result<RankedCandidates> candidates_of_space(const RankingOptions& options, const PredictionOptions& prediction,
                                             const JobOptions& job) {
  if (job.model.empty() || prediction.cluster.empty() || options.space.global_batch == 0)
    return usage_error("--rank without plans needs --model, --cluster and --global-batch",
                       "or name the plans that are to be ranked");
  const bool replay = job.gate == "replay";
  ScenarioSources sources;
  sources.model = job.model;
  sources.cluster = prediction.cluster;
  sources.nodes = prediction.nodes;
  sources.trace = replay ? job.trace : "";
  sources.trace_step = job.trace_step;
  sources.profiles = prediction.profiles;
  MOESIM_ASSIGN(const Scenario scenario, load_scenario(sources));
  SpaceOptions wanted = options.space;
  wanted.precision = job.precision.empty() ? "fp32" : job.precision;
  MOESIM_ASSIGN(const SearchSpace space, space_for(wanted, scenario));
  SearchOptions search;
  search.top = std::numeric_limits<int>::max();  // every plan has its place
  MOESIM_ASSIGN(const RankResult ranked,
                rank_plans(scenario.model.shape, *scenario.costs, scenario.loads(), space, search));
  std::vector<Candidate> executable;
  for (const RankedPlan& plan : ranked.plans)
    if (check_executable(plan.plan, scenario.model.shape))
      executable.push_back({{plan.plan, sources.model, sources.cluster, sources.nodes, sources.trace}, {}});
  if (executable.empty())
    return usage_error(fmt::format("none of the {} plans that fit can be executed", ranked.plans.size()),
                       "narrow the space to plans that can: see what 'moeexec run' says to one of them");
  return choose(std::move(executable), options,
                fmt::format("plans that can be executed ({} fit)", ranked.plans.size()));
}

Result<RankedCandidates> candidates_of_plans(const RankingOptions& options, const PredictionOptions& prediction,
                                             const JobOptions& job, std::vector<Candidate> plans, const World& world) {
  std::vector<std::pair<Seconds, std::size_t>> order;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    MOESIM_ASSIGN(const Job prepared, prepare_job(plans[i].file, plans[i].path, job, world));
    MOESIM_ASSIGN(const Prediction predicted, predict(prediction, prepared, job));
    order.emplace_back(predicted.step, i);
  }
  std::ranges::sort(order);
  std::vector<Candidate> ranked;
  for (const auto& [step, i] : order) ranked.push_back(std::move(plans[i]));
  return choose(std::move(ranked), options, "plans given");
}

}  // namespace moesim
