// Measured layer times: whatever the bytes, they are fitted or refused with a place.
#include <cstddef>
#include <cstdint>
#include <string>

#include "sim/placement/layer_times_file.hpp"

namespace {

moesim::ReplayTrace small_recording() {
  moesim::SelectionTrace trace({0, 10, 20}, {0, 1}, {0}, {0, 1}, 4);
  for (int step = 0; step < 3; ++step)
    for (int layer = 0; layer < 2; ++layer)
      for (int rank = 0; rank < 2; ++rank) {
        const auto row = trace.counts(step, layer, 0, rank);
        row[0] = static_cast<std::uint32_t>(4 + step);
        row[3] = static_cast<std::uint32_t>(4 - step);
      }
  return moesim::ReplayTrace::map(trace, {.devices = 2, .top_k = 1}).value();
}

moesim::LayerTimeModel two_devices() {
  moesim::LayerTimeModel laws;
  laws.row = moesim::Bytes(2);
  laws.speed = {1, 1};
  laws.node_of_device = {0, 0};
  return laws;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const moesim::ReplayTrace kTrace = small_recording();
  static const moesim::LayerTimeModel kLaws = two_devices();
  std::string text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(moesim::fit_layer_times_text(std::move(text), "fuzz.csv", kTrace, kLaws));
  return 0;
}
