#include <string>
#include <vector>

#include "sim/cli/program.hpp"

int main(int argc, char** argv) {
  return moesim::run_program(std::vector<std::string>(argv + (argc > 0), argv + argc));
}
