#include <string>
#include <vector>

#include "sim/cli/commands/commands.hpp"
#include "sim/cli/program.hpp"

namespace moesim {
namespace {

constexpr ProgramPage kPage = {
    "moesim", "Which layout, schedule and expert placement trains a Mixture-of-Experts model fastest",
    "# the best layouts of Mixtral-8x7B on 64 H100, and why\n"
    "moesim rank --model zoo:mixtral-8x7b --cluster preset:h100 --nodes 8 --global-batch 1024 --save-plans plans\n"
    "# where the time of one of them goes\n"
    "moesim explain plans/01-*.json\n"
    "# how uneven the experts of a recording are\n"
    "moesim trace info recording.csv.zst",
    add_all_commands};

}  // namespace
}  // namespace moesim

int main(int argc, char** argv) {
  return moesim::run_program(moesim::kPage, std::vector<std::string>(argv + (argc > 0), argv + argc));
}
