#include "sim/plan/export/flag_list.hpp"

#include <algorithm>

namespace moesim {

std::string shell_quoted(std::string_view text) {
  constexpr std::string_view kSafe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=+,@%";
  if (!text.empty() && text.find_first_not_of(kSafe) == std::string_view::npos) return std::string(text);
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

std::string one_line(std::string_view text) {
  std::string line(text);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return line;
}

std::string FlagList::lines(std::string_view indent, std::string_view end) const {
  std::string text;
  for (std::size_t i = 0; i < flags_.size(); ++i) {
    text += fmt::format("{}{}", indent, flags_[i].name);
    for (const std::string& value : flags_[i].values) text += ' ' + shell_quoted(value);
    text += fmt::format("{}\n", i + 1 < flags_.size() ? end : "");
  }
  return text;
}

std::string FlagList::yaml() const {
  std::string text;
  for (const Flag& flag : flags_) {
    const std::string value = flag.values.empty() ? "true" : fmt::format("{}", fmt::join(flag.values, " "));
    const bool plain = value.find_first_of("[]{}()|*#&!,'\": ") == std::string::npos;
    text += plain ? fmt::format("  {}: {}\n", flag.name, value) : fmt::format("  {}: \"{}\"\n", flag.name, value);
  }
  return text;
}

}  // namespace moesim
