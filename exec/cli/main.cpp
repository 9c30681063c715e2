#include <string>
#include <vector>

#include "exec/cli/commands/commands.hpp"
#include "sim/cli/program.hpp"

namespace moesim {
namespace {

constexpr ProgramPage kPage = {"moeexec",
                               "Executes the plans that moesim predicts, operation by operation, on real ranks",
                               "# five steps of a small model on eight ranks, which are threads of this process\n"
                               "moeexec run examples/tiny-plan.json\n"
                               "# the same with one process for each rank\n"
                               "mpirun -n 8 moeexec run examples/tiny-plan.json\n"
                               "# what this machine takes, for moesim calibrate\n"
                               "moeexec bench --ranks 2 -o bench.json",
                               add_execution_commands};

}  // namespace
}  // namespace moesim

int main(int argc, char** argv) {
  return moesim::run_program(moesim::kPage, std::vector<std::string>(argv + (argc > 0), argv + argc));
}
