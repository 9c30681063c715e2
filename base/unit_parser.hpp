// Reads quantities as people write them in input files: "900GB/s", "400Gbit/s", "80 GiB", "2.5us", "989 TFLOPS".
//
// A bare number is an error that lists the accepted spellings. Decimal prefixes are powers of 1000 and binary
// ones (Ki, Mi, Gi, Ti) powers of 1024. B is byte, b or bit is bit; 400Gbit/s = 50e9 B/s.
#pragma once

#include <string_view>

#include "base/error.hpp"
#include "base/units.hpp"

namespace moesim {

// All reject negative, non-finite and unit-less text. Zero is accepted; callers that need more than zero say so.
[[nodiscard]] Result<Bytes> parse_bytes(std::string_view text);  // "80GB", "80 GiB"
[[nodiscard]] Result<BytesPerSecond> parse_bytes_per_second(
    std::string_view text);                                          // "450GB/s", "400Gbit/s", "400Gbps"
[[nodiscard]] Result<Seconds> parse_seconds(std::string_view text);  // "3us", "1.5 ms", "20ns"
[[nodiscard]] Result<FlopsPerSecond> parse_flops_per_second(
    std::string_view text);                                      // "989TFLOPS", "1.98 PFLOP/s", "1979TOPS"
[[nodiscard]] Result<Hertz> parse_hertz(std::string_view text);  // "1830MHz", "1.83GHz"

}  // namespace moesim
