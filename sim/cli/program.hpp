// A program as a function: parse, run one command, turn what came back into text and an exit code. What moesim and moeexec
// share; they differ in what stands in ProgramPage.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "sim/cli/session.hpp"

namespace moesim {

struct ProgramPage {
  std::string_view name;
  std::string_view purpose;   // above everything else in --help
  std::string_view examples;  // as in help.hpp
  void (*add_commands)(CLI::App& app, Session& session);
};

// `words` are the arguments without the program's name.
[[nodiscard]] int run_program(const ProgramPage& page, const std::vector<std::string>& words);

}  // namespace moesim
