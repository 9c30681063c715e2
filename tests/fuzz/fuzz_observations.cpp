// Measurement files of every format: whatever the bytes, reading gives observations or an error, and small ones can be fitted.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "calibration/curve_fit.hpp"
#include "calibration/import/observations.hpp"
#include "models/cluster/cluster_view.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto file = moesim::parse_observations(text, "all_reduce");
  if (!file) return 0;
  moesim::CurvePoints points;
  for (const moesim::Observation& row : file->rows) points.add(row, moesim::GroupShape{});
  static_cast<void>(points.fit());
  return 0;
}
