// Options that name a model, a cluster or a trace, the same in every command.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "sim/cli/session.hpp"

namespace moesim {

// `name` is "--model" for an option and "model" for a positional argument. Completion knows the zoo, the presets and the
// bundled traces.
CLI::Option* add_model_source(CLI::App& command, Session& session, const std::string& name, std::string& target);
CLI::Option* add_cluster_source(CLI::App& command, Session& session, const std::string& name, std::string& target);
CLI::Option* add_trace_source(CLI::App& command, Session& session, const std::string& name, std::string& target);
CLI::Option* add_nodes(CLI::App& command, int& target);

}  // namespace moesim
