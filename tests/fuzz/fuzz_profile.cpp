// Calibration profiles: whatever the bytes, reading gives a profile or an error, and what was read can be written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "calibration/profile.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto profile = moesim::parse_profile(text, "fuzz");
  if (!profile) return 0;
  if (!moesim::parse_profile(moesim::profile_json(*profile), "again")) std::abort();
  return 0;
}
