#include "sim/cli/usage_error.hpp"

#include <fmt/format.h>

#include "base/text.hpp"

namespace moesim {
namespace {

std::vector<const CLI::App*> subcommands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* sub) { return !sub->get_name().empty(); });
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

std::string help_hint(const CLI::App& app) { return fmt::format("see '{} --help'", full_name(app)); }

bool looks_like_option(const std::string& word) { return word.size() > 1 && word.front() == '-'; }

std::string unexpected_word(const CLI::App& command, const std::vector<std::string>& extras) {
  for (const std::string& word : extras) {
    if (!looks_like_option(word)) continue;
    const std::string name = word.substr(0, word.find('='));
    return fmt::format("unknown option '{}'{}", name, did_you_mean(name, option_names(command)));
  }
  return fmt::format("unexpected argument '{}'", extras.front());
}

// CLI11 ends some messages with a line break or a list over several lines; ours are one line.
std::string one_line(std::string_view text) {
  std::string line(trim(text));
  for (char& c : line)
    if (c == '\n') c = ' ';
  return line;
}

}  // namespace

Status check_subcommand_words(const CLI::App& app, const std::vector<std::string>& words) {
  const CLI::App* at = &app;
  for (const std::string& word : words) {
    const std::vector<const CLI::App*> subs = subcommands_of(*at);
    if (subs.empty() || looks_like_option(word)) return {};
    const CLI::App* next = nullptr;
    std::vector<std::string> names;
    for (const CLI::App* sub : subs) {
      names.push_back(sub->get_name());
      if (sub->get_name() == word) next = sub;
    }
    if (next == nullptr)
      return usage_error(fmt::format("{}: unknown command '{}'{}", full_name(*at), word, did_you_mean(word, names)),
                         fmt::format("commands are {}", fmt::join(names, ", ")));
    at = next;
  }
  return {};
}

Error usage_error_from(const CLI::App& app, const CLI::ParseError& failure) {
  const CLI::App& command = deepest_command(app);
  const std::vector<std::string> extras = app.remaining(true);
  std::string what = extras.empty() ? one_line(failure.what()) : unexpected_word(command, extras);
  return Error{ErrorKind::kUsage, std::move(what), full_name(command), help_hint(command)};
}

const CLI::App& deepest_command(const CLI::App& app) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  return *at;
}

std::string full_name(const CLI::App& app) {
  const CLI::App* parent = app.get_parent();
  return parent == nullptr ? app.get_name() : full_name(*parent) + " " + app.get_name();
}

bool is_flag(const CLI::Option& option) { return option.get_items_expected_max() == 0; }

std::string longest_name(const CLI::Option& option) {
  if (!option.get_lnames().empty()) return "--" + option.get_lnames().front();
  return option.get_snames().empty() ? option.get_name() : "-" + option.get_snames().front();
}

}  // namespace moesim
