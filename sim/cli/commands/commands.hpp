// Every subcommand, one file each in this folder. To add one: a new file, a line here and a line in commands.cpp.
#pragma once

#include <CLI/CLI.hpp>

#include "sim/cli/session.hpp"

namespace moesim {

void add_calibrate(CLI::App& app, Session& session);
void add_cluster(CLI::App& app, Session& session);
void add_compare(CLI::App& app, Session& session);
void add_completion(CLI::App& app, Session& session);
void add_explain(CLI::App& app, Session& session);
void add_export(CLI::App& app, Session& session);
void add_layer(CLI::App& app, Session& session);
void add_model(CLI::App& app, Session& session);
void add_profile(CLI::App& app, Session& session);
void add_rank(CLI::App& app, Session& session);
void add_replay(CLI::App& app, Session& session);
void add_simulate(CLI::App& app, Session& session);
void add_sweep(CLI::App& app, Session& session);
void add_trace(CLI::App& app, Session& session);
void add_validate(CLI::App& app, Session& session);

// All of them, in the order of --help.
void add_all_commands(CLI::App& app, Session& session);

}  // namespace moesim
