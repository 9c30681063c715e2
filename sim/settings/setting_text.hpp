// What is said of settings that are not as they should be, in a file or in the environment.
#pragma once

#include <string>
#include <string_view>

#include "sim/settings/settings.hpp"

namespace moesim {

// "nodes should be a whole number, not a string".
[[nodiscard]] tl::unexpected<Error> wrong_setting(const SettingTraits& setting, std::string where,
                                                  const std::string& found);
// "unknown setting 'nodse' (did you mean 'nodes'?)".
[[nodiscard]] tl::unexpected<Error> unknown_setting(std::string_view key, std::string where);

}  // namespace moesim
