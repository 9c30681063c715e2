// What is shown of how far a long computation is (base/progress.hpp).
//
// ProgressMeter decides without clock or terminal: nothing in the first second; on a terminal a line at most
// every 0.1 s, elsewhere every 10 s; a rate once there is one; an ETA only when it can be believed, that is when the
// recent rate has stayed within 25 % of the overall one and the end is less than 99 hours off.
// Example: update(1s, 100/1000), update(2s, 200/1000) -> "20 %  200/1000  100/s  8 s left".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/progress.hpp"
#include "base/units.hpp"

namespace moesim {

enum class ProgressPlace : std::uint8_t {
  kTerminal,  // a line that is overwritten
  kLog,       // a file or pipe: few lines, each kept
};

class ProgressMeter {
 public:
  ProgressMeter(std::string label, ProgressPlace place) : label_(std::move(label)), place_(place) {}

  // The line to show at `elapsed` since the start, or nothing. Elapsed times never decrease. With a new stage rate and
  // ETA start afresh.
  [[nodiscard]] std::optional<std::string> update(Seconds elapsed, std::uint64_t done, std::uint64_t total,
                                                  std::string_view stage = {});
  [[nodiscard]] bool shown_anything() const { return last_shown_.has_value(); }

 private:
  [[nodiscard]] std::string line(double rate, std::uint64_t done, std::uint64_t total) const;

  std::string label_;
  ProgressPlace place_;
  std::optional<std::string> stage_;
  Seconds stage_start_;
  std::uint64_t stage_first_done_ = 0;
  std::optional<Seconds> last_shown_;
  Seconds last_sample_time_;
  std::uint64_t last_sample_done_ = 0;
  int steady_samples_ = 0;  // in a row whose rate was close to the overall one
};

}  // namespace moesim
