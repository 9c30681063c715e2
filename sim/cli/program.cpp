#include "sim/cli/program.hpp"

#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <exception>
#include <memory>
#include <new>

#include "sim/cli/help.hpp"
#include "sim/cli/session.hpp"
#include "sim/cli/settings_words.hpp"
#include "sim/cli/usage_error.hpp"
#include "sim/report/json_printer.hpp"

namespace moesim {
namespace {

std::string version_text(const ToolVersion& tool) {
  return tool.revision.empty() ? fmt::format("{} {}", tool.name, tool.version)
                               : fmt::format("{} {} (git {})", tool.name, tool.version, tool.revision);
}

// Whether a JSON answer on stdout was asked for; looked up in the words because a wrong command line has no options.
bool wants_json(const std::vector<std::string>& words) {
  for (std::size_t i = 0; i < words.size(); ++i)
    if (words[i] == "--json" || words[i] == "--format=json" ||
        (words[i] == "--format" && i + 1 < words.size() && words[i + 1] == "json"))
      return true;
  return false;
}

int report_error(const ProgramPage& page, const Error& error, const std::vector<std::string>& words) {
  print_error(page.name, error);
  // A program that reads our JSON finds the reason where it reads. If stdout is gone too, the exit code has to do.
  if (wants_json(words)) static_cast<void>(write_output("-", error_json_text(error), Overwrite::kRefuse));
  return static_cast<int>(error.kind);
}

// Errors of parsing, or the exit code of --help and --version.
Result<int> parse(CLI::App& app, const std::string& version, const std::vector<std::string>& words) {
  MOESIM_TRY(check_subcommand_words(app, words));
  try {
    std::vector<std::string> reversed(words.rbegin(), words.rend());  // as CLI11 wants them
    app.parse(std::move(reversed));
    return kExitOk;
  } catch (const CLI::Success& success) {
    const bool asks_version = success.get_name() == "CallForVersion";
    MOESIM_TRY(write_output("-", asks_version ? version + "\n" : deepest_command(app).help(), Overwrite::kRefuse));
    return kExitOk;
  } catch (const CLI::ParseError& failure) {
    return tl::unexpected(usage_error_from(app, failure));
  }
}

void name_groups(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    command->group("Commands");
    name_groups(*command);
  }
}

bool asks_for_help(const std::vector<std::string>& words) {
  return words.empty() || std::ranges::any_of(words, [](const std::string& word) {
           return word == "-h" || word == "--help" || word == "--version";
         });
}

// An error that a setting is the cause of names the place where it stands.
Error blame_setting(Error error, const SettingLayer& used) {
  for (const SettingValue& setting : used)
    if (error.kind == ErrorKind::kUsage && error.what.starts_with("--" + setting.key + ":")) {
      error.what = error.what.substr(2);
      error.where = setting.where;
      error.kind = ErrorKind::kInvalidInput;
    }
  return error;
}

// Else a command would seem to complain about what nobody has asked of it.
void tell_settings(const Session& session, const SettingLayer& used) {
  for (const SettingValue& setting : used)
    if (setting.key != "jobs" && setting.key != "color" && setting.key != "quiet")
      session.say(fmt::format("note: --{} {} is from {}", setting.key, setting.values.front(), setting.where));
}

Result<int> run(const ProgramPage& page, const std::vector<std::string>& words) {
  Session session{std::string(page.name)};
  const std::string version = version_text(session.tool());
  CLI::App app{std::string(page.purpose), std::string(page.name)};
  app.formatter(std::make_shared<HelpPage>());
  app.footer(std::string(page.examples));
  app.set_version_flag("--version", version);
  app.require_subcommand(0, 1);
  page.add_commands(app, session);
  const Result<EnvironmentLayer> settings = asks_for_help(words) ? EnvironmentLayer{} : load_settings();
  if (!settings) return tl::unexpected(settings.error());
  add_config(app, session, settings->layer);
  name_groups(app);
  const AppliedSettings applied = apply_settings(app, words, settings->layer);
  const Result<int> parsed = parse(app, version, applied.words);
  if (!parsed) return tl::unexpected(blame_setting(parsed.error(), applied.used));
  for (const std::string& unknown : settings->unknown) session.warn(unknown);
  if (session.has_command()) {
    Result<int> result = session.run();
    if (!result) tell_settings(session, applied.used);
    return result;
  }
  // Asked for help or for the version, which has been given; or for nothing at all.
  if (!words.empty()) return *parsed;
  MOESIM_TRY(write_output("-", app.help(), Overwrite::kRefuse));
  return static_cast<int>(ErrorKind::kUsage);
}

}  // namespace

int run_program(const ProgramPage& page, const std::vector<std::string>& words) {
  try {
    const Result<int> result = run(page, words);
    return result ? *result : report_error(page, result.error(), words);
  } catch (const std::bad_alloc&) {
    return report_error(page, {ErrorKind::kInternal, "out of memory", {}, {}}, words);
  } catch (const std::exception& failure) {
    return report_error(page,
                        {ErrorKind::kInternal,
                         failure.what(),
                         {},
                         fmt::format("this is a fault of {}; please report the command line", page.name)},
                        words);
  }
}

}  // namespace moesim
