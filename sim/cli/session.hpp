// One run of the program: the shared options, the chosen command, and the ways to say something.
//
// A command file adds its subcommand and its options, and registers what is to be done with run_when_chosen(). Nothing is
// done while the command line is being parsed, so that a later wrong option never finds half of the work done.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/stop_token.hpp"
#include "sim/cli/output.hpp"
#include "sim/report/progress.hpp"
#include "sim/report/report.hpp"

namespace moesim {

constexpr int kExitOk = 0;

// What a command did: its exit code where that is not an error (findings of level error give 3), or the error.
using RunResult = Result<int>;

enum class FileOption : std::uint8_t { kOptional, kRequired };

class Session {
 public:
  // The program's name, as errors and results tell it.
  explicit Session(std::string program) : program_(std::move(program)) {}

  // --- while the options are declared
  void run_when_chosen(CLI::App& command, std::function<RunResult()> run);
  // --format, --json, --csv, -o, --force, --quiet, --verbose, --color.
  void add_output_options(CLI::App& command);
  // -o, --force and --quiet alone, for commands whose output has a form of its own.
  void add_file_options(CLI::App& command, FileOption file);
  // An option that takes one of a few words; completion offers them.
  CLI::Option* add_choice(CLI::App& command, const std::string& names, std::string& target,
                          std::vector<std::string> words, const std::string& description);
  // Words that completion offers for an option or argument that takes others as well ("zoo:mixtral-8x7b").
  void suggest(CLI::Option* option, std::vector<std::string> words);
  [[nodiscard]] const std::vector<std::string>& suggestions(const CLI::Option* option) const;

  // --- while the command runs
  [[nodiscard]] bool has_command() const { return static_cast<bool>(run_); }
  [[nodiscard]] RunResult run() { return run_(); }
  [[nodiscard]] const OutputOptions& output() const { return output_; }
  [[nodiscard]] Overwrite overwrite() const { return output_.force ? Overwrite::kAllow : Overwrite::kRefuse; }
  // From the first call on, an interrupt no longer ends the process but asks this token; for commands that poll it.
  [[nodiscard]] static StopToken stop() { return watch_interrupts(); }

  [[nodiscard]] ToolVersion tool() const;
  [[nodiscard]] Report new_report() const;

  // Refuses impossible output options before any work is done.
  [[nodiscard]] Status check_output() const;
  [[nodiscard]] Status emit(const Report& report) const;
  // Text whose form the command decides (an exported script), to -o or stdout.
  [[nodiscard]] Status emit_text(std::string_view text) const;

  // A line on stderr, unless --quiet.
  void say(std::string_view line) const;
  // "moesim: warning: ..."
  void warn(std::string_view what, std::string_view hint = {}) const;
  // For an error that comes with an answer; the others are returned.
  void print_error(const Error& error) const;
  // For one long computation; shows nothing with --quiet.
  [[nodiscard]] std::unique_ptr<ProgressSink> progress(const std::string& label) const;

 private:
  std::string program_;
  OutputOptions output_;
  std::function<RunResult()> run_;
  std::map<const CLI::Option*, std::vector<std::string>> suggestions_;
};

// "moesim: error: WHERE: WHAT" and "hint: ..." on stderr.
void print_error(std::string_view program, const Error& error);

}  // namespace moesim
