// Where a number comes from. Every law parameter and every preset figure carries one.
#pragma once

#include <string>

namespace moesim {

enum class Origin {
  kDatasheet,  // the vendor's peak figure
  kMeasured,   // somebody's published or own measurement of exactly this
  kFitted,     // least squares over a set of measurements
  kEstimated,  // carried over from similar hardware; the weakest
  kUser,       // given in the user's file
};

[[nodiscard]] constexpr const char* origin_name(Origin origin) {
  switch (origin) {
    case Origin::kDatasheet: return "datasheet";
    case Origin::kMeasured: return "measured";
    case Origin::kFitted: return "fitted";
    case Origin::kEstimated: return "estimated";
    case Origin::kUser: return "user";
  }
  return "?";
}

struct Provenance {
  Origin origin = Origin::kEstimated;
  std::string source;  // "NVIDIA H100 datasheet", "nccl-tests on 8 x H100, 2026-02", ...
  // Median relative error of the law over the data it was fitted on; negative when unknown.
  double residual = -1;
  std::string range;  // the fitted range in words, "1 MiB .. 8 GiB, 8 ranks"; empty when not fitted
};

}  // namespace moesim
