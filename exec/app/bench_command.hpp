// moeexec bench: measures what the cost laws are fitted to, on this machine or on the ranks of mpirun.
#pragma once

#include <CLI/CLI.hpp>

#include "sim/cli/session.hpp"

namespace moesim {

void add_bench(CLI::App& app, Session& session);

}  // namespace moesim
