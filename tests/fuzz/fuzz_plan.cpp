// Any bytes as a plan file: an error or a plan that survives being written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "sim/plan/plan.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto file = moesim::parse_plan(text, "fuzz");
  if (!file) return 0;
  const auto again = moesim::parse_plan(moesim::plan_to_json(*file, 1), "again");
  if (!again || !(*again == *file)) std::abort();
  static_cast<void>(moesim::run_name(file->plan));
  static_cast<void>(moesim::check_plan(file->plan, {}, 64));
  return 0;
}
