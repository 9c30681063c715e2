// What the gate will choose, from what it has chosen: one predictor per layer, fed one recorded iteration after the other.
//
//   last    the last record
//   mean    the mean of the last 8
//   ema     half the last record, half what was predicted before it
//   linear  a straight line by least squares through the last 8, count by count, continued to the asked iteration; never below 0
// Counts are N[source][expert] of one micro-batch (the mean over those of the iteration).
// Worked, one count, records 10: 4, 20: 6, asked for 40: last 6, mean 5, ema 5, linear 10.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace moesim {

enum class PredictorKind : std::uint8_t { kLast, kMean, kEma, kLinear };
[[nodiscard]] std::string_view predictor_name(PredictorKind kind);  // "last"
[[nodiscard]] Result<PredictorKind> parse_predictor(std::string_view name);
[[nodiscard]] std::vector<std::string_view> predictor_names();

class LoadPredictor {
 public:
  LoadPredictor(PredictorKind kind, std::size_t counts) : kind_(kind), counts_(counts), predicted_(counts, 0.0) {}
  void observe(std::int64_t iteration, std::span<const double> counts);
  // After at least one record; good until the next call.
  [[nodiscard]] std::span<const double> predict(double iteration);

 private:
  struct Record {
    std::int64_t iteration = 0;
    std::vector<double> counts;
  };
  void continue_line(double iteration);

  PredictorKind kind_;
  std::size_t counts_;
  std::deque<Record> records_;   // the last few, as many as the kind needs
  std::vector<double> average_;  // ema
  std::vector<double> predicted_;
};

}  // namespace moesim
