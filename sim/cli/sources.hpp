// Options that name a model, a cluster or a trace and say how it is read, the same in every command.
#pragma once

#include <CLI/CLI.hpp>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "calibration/profile.hpp"
#include "models/cluster/cluster_view.hpp"
#include "sim/cli/session.hpp"
#include "traces/import.hpp"

namespace moesim {

// `name` is "--model" for an option and "model" for a positional argument. Completion knows the zoo, the presets and the
// bundled traces.
CLI::Option* add_model_source(CLI::App& command, Session& session, const std::string& name, std::string& target);
CLI::Option* add_cluster_source(CLI::App& command, Session& session, const std::string& name, std::string& target);
CLI::Option* add_trace_source(CLI::App& command, Session& session, const std::string& name, std::string& target);
// The same where routing is asked for, which a prior may tell as well (traces/prior.hpp).
CLI::Option* add_routing_source(CLI::App& command, Session& session, const std::string& name, std::string& target);
// --profile: measured parameters of the cost laws, before the shipped ones. The same in every command that predicts.
CLI::Option* add_profile_option(CLI::App& command, std::vector<std::string>& target);
// A positional argument: a profile file or shipped:NAME.
CLI::Option* add_profile_argument(CLI::App& command, Session& session, const std::string& name, std::string& target);
[[nodiscard]] Result<Profile> load_named_profile(const std::string& name);
[[nodiscard]] Result<std::vector<Profile>> load_profiles(const std::vector<std::string>& names);
// A note for each profile that is of none of these devices: it says little about them, and perhaps nothing. `place`: where they
// are, "the cluster".
[[nodiscard]] std::vector<std::string> notes_of_other_devices(const std::vector<std::string>& names,
                                                              std::span<const Profile> profiles,
                                                              const std::set<std::string>& devices,
                                                              std::string_view place);
[[nodiscard]] std::set<std::string> device_names(const ClusterView& view);

CLI::Option* add_nodes(CLI::App& command, int& target);
// What an importer cannot read from the trace itself (docs/traces.md).
void add_import_options(CLI::App& command, Session& session, ImportOptions& options);
// Where no trace is read such options would do nothing, which their user should hear.
[[nodiscard]] Status check_no_import_options(const ImportOptions& options);

}  // namespace moesim
