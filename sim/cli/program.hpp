// The program as a function: parse, run one command, turn what came back into text and an exit code.
#pragma once

#include <string>
#include <vector>

namespace moesim {

// `words` are the arguments without the program's name.
[[nodiscard]] int run_program(const std::vector<std::string>& words);

}  // namespace moesim
