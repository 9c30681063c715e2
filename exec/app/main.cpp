#include <string>
#include <vector>

#include "exec/app/bench_command.hpp"
#include "sim/cli/program.hpp"

namespace moesim {
namespace {

// Every subcommand, one file each in this folder.
void add_commands(CLI::App& app, Session& session) { add_bench(app, session); }

constexpr ProgramPage kPage = {"moeexec", "Runs on real ranks what moesim predicts, and measures what its laws need",
                               "# what this machine takes, for moesim calibrate\n"
                               "moeexec bench --ranks 2 -o bench.json\n"
                               "# the same of a cluster\n"
                               "mpirun -n 16 moeexec bench --only collectives,overlap -o cluster.json",
                               add_commands};

}  // namespace
}  // namespace moesim

int main(int argc, char** argv) {
  return moesim::run_program(moesim::kPage, std::vector<std::string>(argv + (argc > 0), argv + argc));
}
