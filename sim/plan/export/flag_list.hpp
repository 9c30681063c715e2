// Command-line flags in order, and their written forms.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

namespace moesim {

class FlagList {
 public:
  struct Flag {
    std::string name;                 // with its dashes
    std::vector<std::string> values;  // empty: a switch
  };

  void add(std::string_view name) { flags_.push_back({std::string(name), {}}); }
  template <class Value>
  void add(std::string_view name, const Value& value) {
    flags_.push_back({std::string(name), {fmt::format("{}", value)}});
  }
  void add_list(std::string_view name, std::vector<std::string> values) {
    flags_.push_back({std::string(name), std::move(values)});
  }

  [[nodiscard]] const std::vector<Flag>& flags() const { return flags_; }
  // One flag per line, quoted for a shell, each line led by `indent` and all but the last ended by `end`.
  [[nodiscard]] std::string lines(std::string_view indent, std::string_view end) const;
  // "  --flag: value" per line; switches are true, lists are joined by spaces.
  [[nodiscard]] std::string yaml() const;

 private:
  std::vector<Flag> flags_;
};

// As it must stand in a shell command: unchanged where that is safe, else in single quotes.
[[nodiscard]] std::string shell_quoted(std::string_view text);
// For a comment line: control characters, a line break among them, become '?'.
[[nodiscard]] std::string one_line(std::string_view text);

}  // namespace moesim
