#include "trace_fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  moesim::fuzz_trace(data, size, "expert_weights_1.txt");
  return 0;
}
