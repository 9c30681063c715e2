// Which numbers an option takes.
#pragma once

#include <CLI/CLI.hpp>

namespace moesim {

// From `least` to `most`, both included. For numbers with a fraction in place of CLI::Range, which lets NaN through: it is neither
// below the one nor above the other. "--pause nan" -> "Value nan not in range 0 to 60".
[[nodiscard]] CLI::Validator number_in(double least, double most);

}  // namespace moesim
