#include "sim/cli/help.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "sim/cli/settings_words.hpp"
#include "sim/cli/usage_error.hpp"

namespace moesim {
namespace {

constexpr std::size_t kOptionColumn = 34;

std::string examples_text(const std::string& footer) {
  if (footer.empty()) return {};
  std::string text = "Examples:\n";
  for (const std::string_view line : split(trim(footer), '\n')) text += fmt::format("  {}\n", line);
  return text + "\n";
}

// The program's own page names them all, a command's those that it takes.
std::string settings_text(const CLI::App& app) {
  std::vector<std::string> keys = settings_of(app);
  const bool is_program = app.get_parent() == nullptr;
  if (is_program)
    for (const SettingTraits& setting : known_settings()) keys.emplace_back(setting.key);
  if (keys.empty()) return {};
  return fmt::format("\nSettings: {} may also stand in moesim.toml or in variables such as {}; see '{} config show'\n",
                     fmt::join(keys, ", "), setting_variable(keys.front()),
                     full_name(app).substr(0, full_name(app).find(' ')));
}

std::string without_double_gaps(std::string page) {
  for (std::size_t gap = page.find("\n\n\n"); gap != std::string::npos; gap = page.find("\n\n\n")) page.erase(gap, 1);
  return page;
}

std::string value_name(const CLI::Option& option) {
  return option.get_option_text().empty() ? option.get_name() : option.get_option_text();
}

}  // namespace

HelpPage::HelpPage() {
  column_width(kOptionColumn);
  label("Positionals", "Arguments");
}

std::string HelpPage::make_help(const CLI::App* app, std::string, CLI::AppFormatMode mode) const {
  if (mode == CLI::AppFormatMode::Sub) return make_expanded(app);
  std::string page = make_description(app) + "\n" + examples_text(app->get_footer());
  page += make_usage(app, full_name(*app));
  page += make_positionals(app);
  page += make_groups(app, mode);
  page += make_subcommands(app, mode);
  page += settings_text(*app);
  return without_double_gaps(std::move(page));
}

std::string HelpPage::make_usage(const CLI::App* app, std::string name) const {
  std::string text = fmt::format("Usage: {}", name);
  if (!app->get_subcommands([](const CLI::App*) { return true; }).empty()) text += " COMMAND";
  for (const CLI::Option* option : app->get_options()) {
    if (option->get_positional())
      text += option->get_required() ? " " + value_name(*option) : fmt::format(" [{}]", value_name(*option));
    else if (option->get_required())
      text += fmt::format(" {} {}", longest_name(*option), value_name(*option));
  }
  return text + " [OPTIONS]\n";
}

std::string HelpPage::make_option_name(const CLI::Option* option, bool is_positional) const {
  return is_positional ? value_name(*option) : option->get_name(false, true);
}

std::string HelpPage::make_option_opts(const CLI::Option* option) const {
  if (option->get_positional() || is_flag(*option)) return {};
  std::string text = " " + value_name(*option);
  if (!option->get_default_str().empty()) text += fmt::format(" [{}]", option->get_default_str());
  return text;
}

}  // namespace moesim
