// The page of --help: what the command is for, examples to copy, then usage and options.
//
// A command's examples are its CLI11 footer, one command line per line, each with an optional "# why" line above it.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace moesim {

class HelpPage final : public CLI::Formatter {
 public:
  HelpPage();
  [[nodiscard]] std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override;
  [[nodiscard]] std::string make_usage(const CLI::App* app, std::string name) const override;
  [[nodiscard]] std::string make_option_name(const CLI::Option* option, bool is_positional) const override;
  [[nodiscard]] std::string make_option_opts(const CLI::Option* option) const override;
};

}  // namespace moesim
