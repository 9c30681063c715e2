// Any bytes as moesim.toml: an error with a place, or values of known keys.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "sim/settings/settings.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto layer = moesim::parse_settings({reinterpret_cast<const char*>(data), size}, "moesim.toml");
  if (!layer) {
    if (layer.error().where.empty() || layer.error().what.empty()) std::abort();
    return 0;
  }
  for (const moesim::SettingValue& value : *layer)
    if (moesim::find_setting(value.key) == nullptr || value.values.empty()) std::abort();
  return 0;
}
