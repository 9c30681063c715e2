// What a question about plans is asked of: a model on a cluster, with the gate's choices from a trace or balanced.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "models/cluster/cluster_view.hpp"
#include "models/cost/cost_model.hpp"
#include "models/shape/model_source.hpp"
#include "sim/cli/session.hpp"
#include "sim/plan/plan.hpp"
#include "sim/report/report.hpp"
#include "traces/import.hpp"
#include "traces/remap.hpp"

namespace moesim {

struct ScenarioSources {
  std::string model;
  std::string cluster;
  int nodes = 0;
  std::string trace;                  // empty: every expert equally often
  int trace_step = -1;                // index of a recorded step; -1: all of them together
  ImportOptions import;               // of the trace
  std::vector<std::string> profiles;  // calibration, in order of preference, before the shipped one
  std::string plan;                   // the plan file that named what the command line did not; empty: none
  std::string regime = "ops";         // "flows": token exchanges as flows over the links
  std::set<std::string, std::less<>> named_by_plan;  // keys of that file: "model", "cluster", "trace"
};

// --model, --cluster, --nodes, --trace, --trace-step, how the trace is read, and --profile. Plan files bring their own;
// then these replace single ones of them.
enum class SourceOptions : std::uint8_t { kRequired, kOverridePlan };
void add_scenario_options(CLI::App& command, Session& session, ScenarioSources& sources, SourceOptions kind);

// --regime, for commands that play few plans: flows cost more time than ports.
void add_regime_option(CLI::App& command, Session& session, ScenarioSources& sources);

// The sources of the plan in the file `path`, with those of the command line in their place where given.
[[nodiscard]] ScenarioSources sources_for(const std::string& path, const PlanFile& plan,
                                          const ScenarioSources& from_command_line);

// In the notes of a scenario with experts and without a recording.
inline constexpr const char* kBalancedRoutingNote =
    "routing is taken as balanced; give --trace for the gate's real choices";

struct Scenario {
  ScenarioSources sources;
  LoadedModel model;
  std::unique_ptr<const ClusterView> view;  // on the heap because `costs` refers to it
  std::unique_ptr<const CostModel> costs;   // of the regime asked for
  std::optional<LoadMapper> trace;
  std::vector<std::string> notes;

  [[nodiscard]] const LoadMapper* loads() const { return trace ? &*trace : nullptr; }
};

[[nodiscard]] Result<Scenario> load_scenario(const ScenarioSources& sources);
// The same of a model that is at hand.
[[nodiscard]] Result<Scenario> load_scenario(const ScenarioSources& sources, LoadedModel model);

// Inputs, notes, and how far the laws are to be trusted.
void describe_scenario(Report& report, const Scenario& scenario);

}  // namespace moesim
