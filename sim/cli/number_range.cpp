#include "sim/cli/number_range.hpp"

#include <fmt/format.h>

#include <string>

namespace moesim {

CLI::Validator number_in(double least, double most) {
  return CLI::Validator(
      [least, most](const std::string& text) -> std::string {
        double value = 0;
        if (CLI::detail::lexical_cast(text, value) && value >= least && value <= most) return {};
        return fmt::format("Value {} not in range {} to {}", text, least, most);
      },
      "");
}

}  // namespace moesim
