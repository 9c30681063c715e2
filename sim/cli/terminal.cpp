#include "sim/cli/terminal.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string_view>

namespace moesim {
namespace {

std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);  // a signal handler sets it

std::atomic<std::int64_t> interrupted_at_ms = 0;
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

// timeout(1) and mpirun send one interrupt twice, to the process and to its group; a person is slower than this.
constexpr std::int64_t kSameInterruptMs = 500;

std::int64_t monotonic_ms() {
  struct timespec now {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);  // safe in a signal handler
  return static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

extern "C" void on_interrupt(int signal_number) {
  // One step for who is first and when, because two signals may be handled by two threads at once.
  const std::int64_t now = monotonic_ms();
  std::int64_t first = 0;
  if (interrupted_at_ms.compare_exchange_strong(first, now)) {
    interrupted = true;
    return;
  }
  if (now - first > kSameInterruptMs) ::_exit(128 + signal_number);
}

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

}  // namespace

bool is_terminal(int descriptor) { return ::isatty(descriptor) == 1; }

Colour colour_for(ColourChoice choice, int descriptor) {
  if (choice != ColourChoice::kAuto) return choice == ColourChoice::kAlways ? Colour::kOn : Colour::kOff;
  const std::string_view force = environment("CLICOLOR_FORCE");
  if (!force.empty() && force != "0") return Colour::kOn;
  if (!environment("NO_COLOR").empty() || environment("TERM") == "dumb") return Colour::kOff;
  return is_terminal(descriptor) ? Colour::kOn : Colour::kOff;
}

StopToken watch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  return StopToken(interrupted);
}

StderrProgress::StderrProgress(const std::string& label)
    : terminal_(is_terminal(STDERR_FILENO)),
      meter_(label, terminal_ ? ProgressPlace::kTerminal : ProgressPlace::kLog),
      start_(std::chrono::steady_clock::now()) {}

StderrProgress::~StderrProgress() {
  if (terminal_ && meter_.shown_anything()) std::fputs("\r\x1b[K", stderr);
}

void StderrProgress::update(std::uint64_t done, std::uint64_t total, std::string_view stage) {
  const std::lock_guard lock(mutex_);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
  const std::optional<std::string> line = meter_.update(Seconds(elapsed.count()), done, total, stage);
  if (!line) return;
  if (terminal_)
    fmt::print(stderr, "\r{}\x1b[K", *line);
  else
    fmt::print(stderr, "{}\n", *line);
  std::fflush(stderr);
}

}  // namespace moesim
