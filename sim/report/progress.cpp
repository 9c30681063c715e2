#include "sim/report/progress.hpp"

#include <fmt/format.h>

#include <cmath>

namespace moesim {
namespace {

constexpr Seconds kQuiet(1);
constexpr Seconds kTerminalInterval(0.1);
constexpr Seconds kLogInterval(10);
constexpr Seconds kSampleInterval(0.5);
constexpr double kSteadyBand = 0.25;
constexpr int kSteadySamples = 2;
constexpr double kLongestEta = 99 * 3600;

std::string rate_text(double per_second) {
  if (per_second >= 1e6) return fmt::format("{:.1f} M/s", per_second * 1e-6);
  if (per_second >= 1e4) return fmt::format("{:.0f} k/s", per_second * 1e-3);
  if (per_second >= 10) return fmt::format("{:.0f}/s", per_second);
  return fmt::format("{:.2f}/s", per_second);
}

std::string duration_text(double seconds) {
  const auto whole = static_cast<long long>(std::ceil(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

}  // namespace

std::optional<std::string> ProgressMeter::update(Seconds elapsed, std::uint64_t done, std::uint64_t total,
                                                 std::string_view stage) {
  if (stage_ && stage != *stage_) {
    stage_start_ = last_sample_time_ = elapsed;
    stage_first_done_ = last_sample_done_ = done;
    steady_samples_ = 0;
  }
  stage_ = stage;
  const Seconds in_stage = elapsed - stage_start_;
  const double rate = in_stage > Seconds(0) ? static_cast<double>(done - stage_first_done_) / in_stage.value() : 0;
  if (elapsed - last_sample_time_ >= kSampleInterval && done > last_sample_done_) {
    const double recent = static_cast<double>(done - last_sample_done_) / (elapsed - last_sample_time_).value();
    steady_samples_ = std::abs(recent - rate) <= kSteadyBand * rate ? steady_samples_ + 1 : 0;
    last_sample_time_ = elapsed;
    last_sample_done_ = done;
  }
  const Seconds interval = place_ == ProgressPlace::kTerminal ? kTerminalInterval : kLogInterval;
  if (elapsed < kQuiet || elapsed - last_shown_.value_or(Seconds(0)) < interval) return std::nullopt;
  last_shown_ = elapsed;
  return line(rate, done, total);
}

std::string ProgressMeter::line(double rate, std::uint64_t done, std::uint64_t total) const {
  std::string text = label_;
  if (stage_ && !stage_->empty()) text += (text.empty() ? "" : ": ") + *stage_;
  if (!text.empty()) text += "  ";
  if (total > 0) {
    const double share = static_cast<double>(done) / static_cast<double>(total);
    text += fmt::format("{:.0f} %  {}/{}", std::floor(share * 100), done, total);
  } else {
    text += fmt::format("{}", done);
  }
  if (rate <= 0) return text;
  text += "  " + rate_text(rate);
  if (total <= done || steady_samples_ < kSteadySamples) return text;
  const double left = static_cast<double>(total - done) / rate;
  return left > kLongestEta ? text : text + fmt::format("  {} left", duration_text(left));
}

}  // namespace moesim
