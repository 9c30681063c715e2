// What this process is connected to: terminals, colour, the interrupt key. The only place that reads the environment.
#pragma once

#include <chrono>
#include <mutex>
#include <string>

#include "base/stop_token.hpp"
#include "sim/report/progress.hpp"
#include "sim/report/table_printer.hpp"

namespace moesim {

enum class ColourChoice : std::uint8_t { kAuto, kAlways, kNever };

// kAlways and kNever stand; else CLICOLOR_FORCE (not 0) wins over NO_COLOR (not empty), which wins over TERM=dumb, and
// without any of them colour is for terminals only.
[[nodiscard]] Colour colour_for(ColourChoice choice, int descriptor);
[[nodiscard]] bool is_terminal(int descriptor);

// From now on the first SIGINT or SIGTERM asks the token to stop and the second ends the process at once.
[[nodiscard]] StopToken watch_interrupts();

// Progress on stderr as ProgressMeter decides. The destructor clears its line.
class StderrProgress final : public ProgressSink {
 public:
  explicit StderrProgress(const std::string& label);
  ~StderrProgress() override;
  void update(std::uint64_t done, std::uint64_t total, std::string_view stage) override;

 private:
  std::mutex mutex_;
  bool terminal_;
  ProgressMeter meter_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace moesim
