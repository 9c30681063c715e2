// Every subcommand of moeexec, one file each in this folder. To add one: a new file, a line here and a line in commands.cpp.
#pragma once

#include <CLI/CLI.hpp>

#include "sim/cli/session.hpp"

namespace moesim {

void add_bench(CLI::App& app, Session& session);
void add_record(CLI::App& app, Session& session);
void add_run(CLI::App& app, Session& session);
void add_execution_validate(CLI::App& app, Session& session);

// All of them, in the order of --help.
void add_execution_commands(CLI::App& app, Session& session);

}  // namespace moesim
