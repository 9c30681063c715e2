// Settings as words of the command line: what stands in moesim.toml or in a variable is added where the command has such an
// option and was not given it, so that both are checked and told alike.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "sim/cli/session.hpp"
#include "sim/settings/settings.hpp"

namespace moesim {

// The environment, and of moesim.toml the one nearest to the working folder, going up, and the one in $XDG_CONFIG_HOME/moesim.
// Variables that look like settings and are none are returned as texts for warnings.
[[nodiscard]] Result<EnvironmentLayer> load_settings();

struct AppliedSettings {
  std::vector<std::string> words;  // of the command line, with the settings
  SettingLayer used;
};
[[nodiscard]] AppliedSettings apply_settings(const CLI::App& app, const std::vector<std::string>& words,
                                             const SettingLayer& settings);

// Keys of the settings that a command takes; a line about them for its --help.
[[nodiscard]] std::vector<std::string> settings_of(const CLI::App& command);

// `config show`: every setting, its value and where it comes from. `settings` must outlive the session.
void add_config(CLI::App& app, Session& session, const SettingLayer& settings);

}  // namespace moesim
