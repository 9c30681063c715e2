// What was wrong with the command line, in our own words and with the closest spelling of what may have been meant.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace moesim {

// The first word that should have named a subcommand and does not: "moesim rnak" -> did you mean 'rank'? Success otherwise.
[[nodiscard]] Status check_subcommand_words(const CLI::App& app, const std::vector<std::string>& words);

// Why CLI11 gave up after parsing into `app`.
[[nodiscard]] Error usage_error_from(const CLI::App& app, const CLI::ParseError& failure);

// "moesim trace info": the deepest subcommand that was reached.
[[nodiscard]] const CLI::App& deepest_command(const CLI::App& app);
[[nodiscard]] std::string full_name(const CLI::App& app);

// An option that takes no value.
[[nodiscard]] bool is_flag(const CLI::Option& option);
// "--json" for a flag with several names.
[[nodiscard]] std::string longest_name(const CLI::Option& option);

}  // namespace moesim
