#include "sim/cli/session.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "moesim_version.hpp"
#include "sim/report/display_width.hpp"

namespace moesim {
namespace {

constexpr const char* kOutputGroup = "Output";

void print_line(std::string_view head, std::string_view escape, std::string_view rest) {
  if (colour_for(ColourChoice::kAuto, STDERR_FILENO) == Colour::kOn)
    fmt::print(stderr, "{}{}\x1b[0m{}\n", escape, head, printable(rest));
  else
    fmt::print(stderr, "{}{}\n", head, printable(rest));
}

}  // namespace

void Session::run_when_chosen(CLI::App& command, std::function<RunResult()> run) {
  command.callback([this, run = std::move(run)] { run_ = run; });
}

void Session::add_output_options(CLI::App& command) {
  add_choice(command, "--format", output_.format, {"table", "csv", "json", "jsonl", "md"}, "Form of the output")
      ->group(kOutputGroup);
  command.add_flag("--json", output_.json, "Short for --format json")->group(kOutputGroup);
  command.add_flag("--csv", output_.csv, "Short for --format csv")->group(kOutputGroup);
  add_file_options(command, FileOption::kOptional);
  command.add_flag("-v,--verbose", output_.verbose, "Say below each table what its columns mean")->group(kOutputGroup);
  add_choice(command, "--color", output_.colour, {"auto", "always", "never"}, "Colour in tables")->group(kOutputGroup);
}

void Session::add_file_options(CLI::App& command, FileOption file) {
  command.add_option("-o,--output", output_.file, "Write to this file; its suffix decides the form")
      ->option_text("FILE")
      ->required(file == FileOption::kRequired)
      ->group(kOutputGroup);
  command.add_flag("--force", output_.force, "Replace files that are there already")->group(kOutputGroup);
  command.add_flag("-q,--quiet", output_.quiet, "No progress and no notes on stderr")->group(kOutputGroup);
}

CLI::Option* Session::add_choice(CLI::App& command, const std::string& names, std::string& target,
                                 std::vector<std::string> words, const std::string& description) {
  CLI::Option* option = command.add_option(names, target, description)
                            ->option_text(fmt::format("{}", fmt::join(words, "|")))
                            ->check(CLI::IsMember(words));
  suggest(option, std::move(words));
  return option;
}

void Session::suggest(CLI::Option* option, std::vector<std::string> words) { suggestions_[option] = std::move(words); }

const std::vector<std::string>& Session::suggestions(const CLI::Option* option) const {
  static const std::vector<std::string> kNone;
  const auto found = suggestions_.find(option);
  return found == suggestions_.end() ? kNone : found->second;
}

ToolVersion Session::tool() const { return {program_, kMoesimVersion, kMoesimRevision}; }

Report Session::new_report() const {
  Report report;
  report.tool = tool();
  return report;
}

Status Session::check_output() const {
  MOESIM_TRY(output_.chosen_format());
  return check_writable(output_.file, overwrite());
}

Status Session::emit(const Report& report) const {
  MOESIM_ASSIGN(const OutputFormat format, output_.chosen_format());
  return write_output(output_.file, render(report, format, output_), overwrite());
}

Status Session::emit_text(std::string_view text) const { return write_output(output_.file, text, overwrite()); }

void Session::say(std::string_view line) const {
  if (!output_.quiet) fmt::print(stderr, "{}\n", printable(line));
}

void Session::warn(std::string_view what, std::string_view hint) const {
  print_line(program_ + ": warning: ", "\x1b[33m", what);
  if (!hint.empty()) print_line("hint: ", "\x1b[36m", hint);
}

std::unique_ptr<ProgressSink> Session::progress(const std::string& label) const {
  if (output_.quiet) return std::make_unique<NoProgress>();
  return std::make_unique<StderrProgress>(label);
}

void Session::print_error(const Error& error) const { moesim::print_error(program_, error); }

void print_error(std::string_view program, const Error& error) {
  print_line(fmt::format("{}: error: ", program), "\x1b[1;31m",
             error.where.empty() ? error.what : error.where + ": " + error.what);
  if (!error.hint.empty()) print_line("hint: ", "\x1b[36m", error.hint);
}

}  // namespace moesim
