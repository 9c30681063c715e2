#include "sim/cli/program.hpp"

#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <exception>
#include <memory>
#include <new>

#include "sim/cli/commands/commands.hpp"
#include "sim/cli/help.hpp"
#include "sim/cli/session.hpp"
#include "sim/cli/usage_error.hpp"
#include "sim/report/json_printer.hpp"

namespace moesim {
namespace {

constexpr std::string_view kExamples =
    "# the best layouts of Mixtral-8x7B on 64 H100, and why\n"
    "moesim rank --model zoo:mixtral-8x7b --cluster preset:h100 --nodes 8 --global-batch 1024 --save-plans plans\n"
    "# where the time of one of them goes\n"
    "moesim explain plans/01-*.json\n"
    "# how uneven the experts of a recording are\n"
    "moesim trace info recording.csv.zst";

std::string version_text() {
  const ToolVersion tool = Session::tool();
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

int report_error(const Error& error, const std::vector<std::string>& words) {
  print_error(error);
  // A program that reads our JSON finds the reason where it reads. If stdout is gone too, the exit code has to do.
  if (wants_json(words)) static_cast<void>(write_output("-", error_json_text(error), Overwrite::kRefuse));
  return static_cast<int>(error.kind);
}

// Errors of parsing, or the exit code of --help and --version.
Result<int> parse(CLI::App& app, const std::vector<std::string>& words) {
  MOESIM_TRY(check_subcommand_words(app, words));
  try {
    std::vector<std::string> reversed(words.rbegin(), words.rend());  // as CLI11 wants them
    app.parse(std::move(reversed));
    return kExitOk;
  } catch (const CLI::Success& success) {
    const bool version = success.get_name() == "CallForVersion";
    MOESIM_TRY(write_output("-", version ? version_text() + "\n" : deepest_command(app).help(), Overwrite::kRefuse));
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

Result<int> run(const std::vector<std::string>& words) {
  Session session;
  CLI::App app("Which layout, schedule and expert placement trains a Mixture-of-Experts model fastest", "moesim");
  app.formatter(std::make_shared<HelpPage>());
  app.footer(std::string(kExamples));
  app.set_version_flag("--version", version_text());
  app.require_subcommand(0, 1);
  add_all_commands(app, session);
  name_groups(app);
  MOESIM_ASSIGN(const int parsed, parse(app, words));
  if (session.has_command()) return session.run();
  // Asked for help or for the version, which has been given; or for nothing at all.
  if (!words.empty()) return parsed;
  MOESIM_TRY(write_output("-", app.help(), Overwrite::kRefuse));
  return static_cast<int>(ErrorKind::kUsage);
}

}  // namespace

int run_program(const std::vector<std::string>& words) {
  try {
    const Result<int> result = run(words);
    return result ? *result : report_error(result.error(), words);
  } catch (const std::bad_alloc&) {
    return report_error({ErrorKind::kInternal, "out of memory", {}, {}}, words);
  } catch (const std::exception& failure) {
    return report_error(
        {ErrorKind::kInternal, failure.what(), {}, "this is a fault of moesim; please report the command line"}, words);
  }
}

}  // namespace moesim
