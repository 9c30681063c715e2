// Completion scripts, made by walking the commands and options as they are declared.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "sim/cli/session.hpp"

namespace moesim {

enum class Shell : std::uint8_t { kBash, kZsh, kFish };

[[nodiscard]] std::string completion_script(const CLI::App& app, const Session& session, Shell shell);

}  // namespace moesim
