#include "sim/cli/settings_words.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/file.hpp"
#include "sim/cli/usage_error.hpp"

namespace moesim {
namespace {

constexpr const char* kFileName = "moesim.toml";
constexpr std::uint64_t kLargestFile = 1 << 20;

std::vector<std::string> environment_lines() {
  std::vector<std::string> lines;
  for (char** line = ::environ; line != nullptr && *line != nullptr; ++line) lines.emplace_back(*line);
  return lines;
}

std::string value_in(const std::vector<std::string>& lines, std::string_view name) {
  for (const std::string& line : lines)
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == '=')
      return line.substr(name.size() + 1);
  return {};
}

bool is_file(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

// The nearest first. The one in the working folder is named without it.
std::vector<std::string> settings_files(const std::vector<std::string>& lines) {
  std::vector<std::string> files;
  std::error_code problem;
  const std::filesystem::path here = std::filesystem::current_path(problem);
  if (is_file(kFileName)) {
    files.emplace_back(kFileName);
  } else if (!problem) {
    for (std::filesystem::path folder = here; files.empty() && folder != folder.root_path();) {
      folder = folder.parent_path();
      if (is_file(folder / kFileName)) files.push_back((folder / kFileName).string());
    }
  }
  std::string own = value_in(lines, "XDG_CONFIG_HOME");
  if (own.empty() && !value_in(lines, "HOME").empty()) own = value_in(lines, "HOME") + "/.config";
  const std::filesystem::path of_user = std::filesystem::path(own) / "moesim" / kFileName;
  if (!own.empty() && is_file(of_user)) files.push_back(of_user.string());
  return files;
}

std::vector<const CLI::App*> path_of(const CLI::App& app, const std::vector<std::string>& words) {
  std::vector<const CLI::App*> path = {&app};
  for (const std::string& word : words) {
    const auto subs = path.back()->get_subcommands([&](const CLI::App* sub) { return sub->get_name() == word; });
    if (subs.empty()) break;
    path.push_back(subs.front());
  }
  return path;
}

const CLI::Option* option_for(const CLI::App& command, std::string_view key) {
  return command.get_option_no_throw("--" + std::string(key));
}

bool is_given(const CLI::Option& option, const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    if (word == "--") return false;
    for (const std::string& name : option.get_lnames())
      if (word == "--" + name || word.starts_with("--" + name + "=")) return true;
    for (const std::string& name : option.get_snames())
      if (!word.starts_with("--") && word.starts_with("-" + name)) return true;
  }
  return false;
}

// Where a command demands a cluster, no plan names one.
bool has_plan(const CLI::App& command) {
  const CLI::Option* const cluster = option_for(command, "cluster");
  return cluster == nullptr || !cluster->get_required();
}

bool takes(const CLI::App& command, const SettingTraits& setting) {
  const CLI::Option* const option = option_for(command, setting.key);
  return option != nullptr && (setting.use == SettingUse::kEverywhere || !has_plan(command));
}

RunResult show_settings(const Session& session, const SettingLayer& settings) {
  MOESIM_TRY(session.check_output());
  MetricTable table({{"setting", MetricUnit::kNone, "setting", "As in moesim.toml; --SETTING on the command line"},
                     {"value", MetricUnit::kNone, "value", "What commands take that are not told otherwise"},
                     {"origin", MetricUnit::kNone, "from", "File and line, or variable"},
                     {"variable", MetricUnit::kNone, "variable", "Before any file"},
                     {"purpose", MetricUnit::kNone, "purpose", "What it says"}});
  for (const SettingTraits& setting : known_settings()) {
    const auto found = std::find_if(settings.begin(), settings.end(),
                                    [&](const SettingValue& value) { return value.key == setting.key; });
    const bool set = found != settings.end();
    table.add_row({std::string(setting.key), set ? fmt::format("{}", fmt::join(found->values, ", ")) : "",
                   set ? found->where : "default", setting_variable(setting.key), std::string(setting.purpose)});
  }
  Report report = session.new_report();
  report.add_rows("settings", "", std::move(table));
  MOESIM_TRY(session.emit(report));
  return kExitOk;
}

}  // namespace

Result<EnvironmentLayer> load_settings() {
  const std::vector<std::string> lines = environment_lines();
  MOESIM_ASSIGN(EnvironmentLayer found, environment_settings(lines));
  std::vector<SettingLayer> layers = {std::move(found.layer)};
  for (const std::string& path : settings_files(lines)) {
    MOESIM_ASSIGN(const std::string text, read_text_file(path, kLargestFile));
    MOESIM_ASSIGN(SettingLayer layer, parse_settings(text, path));
    layers.push_back(std::move(layer));
  }
  return EnvironmentLayer{merge_settings(layers), std::move(found.unknown)};
}

AppliedSettings apply_settings(const CLI::App& app, const std::vector<std::string>& words,
                               const SettingLayer& settings) {
  const std::vector<const CLI::App*> path = path_of(app, words);
  const CLI::App& command = *path.back();
  AppliedSettings applied;
  std::vector<std::string> added;
  for (const SettingValue& value : settings) {
    const CLI::Option* const option = option_for(command, value.key);
    if (!takes(command, *find_setting(value.key)) || is_given(*option, words)) continue;
    // The number of nodes belongs to the cluster beside which it stands.
    if (value.key == "nodes" && is_given(*option_for(command, "cluster"), words)) continue;
    if (is_flag(*option)) {
      if (value.values.front() == "true") added.push_back("--" + value.key);
    } else {
      for (const std::string& each : value.values) added.push_back(fmt::format("--{}={}", value.key, each));
    }
    applied.used.push_back(value);
  }
  const auto options = words.begin() + static_cast<std::ptrdiff_t>(path.size() - 1);
  applied.words.assign(words.begin(), options);
  applied.words.insert(applied.words.end(), added.begin(), added.end());
  applied.words.insert(applied.words.end(), options, words.end());
  return applied;
}

std::vector<std::string> settings_of(const CLI::App& command) {
  std::vector<std::string> keys;
  for (const SettingTraits& setting : known_settings())
    if (takes(command, setting)) keys.emplace_back(setting.key);
  return keys;
}

void add_config(CLI::App& app, Session& session, const SettingLayer& settings) {
  CLI::App* config = app.add_subcommand("config", "What moesim.toml and MOESIM_* variables say");
  config->require_subcommand(1);
  CLI::App* show = config->add_subcommand("show", "Every setting, its value and where it comes from");
  show->footer(app.get_name() + " config show\nMOESIM_NODES=4 " + app.get_name() + " config show --json");
  session.add_output_options(*show);
  session.run_when_chosen(*show, [&session, &settings] { return show_settings(session, settings); });
}

}  // namespace moesim
