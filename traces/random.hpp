// Random numbers that are the same bits on every machine: own generator, and logarithm and exponential from the four
// basic operations, because those of the standard library may differ in the last bit.
#pragma once

#include <cstdint>

namespace moesim {

// PCG-XSH-RR 64/32 (O'Neill 2014).
class Pcg32 {
 public:
  explicit Pcg32(std::uint64_t seed, std::uint64_t stream = 0);
  [[nodiscard]] std::uint32_t next();
  [[nodiscard]] std::uint32_t below(std::uint32_t bound);  // uniform in [0, bound), bound > 0
  [[nodiscard]] double uniform();                          // in (0, 1), 52 bits
  // About standard normal: the sum of 12 uniforms less 6 (variance 1, no tails beyond 6).
  [[nodiscard]] double near_normal();
  // Gamma(shape, 1) for shape > 0 (Marsaglia and Tsang 2000).
  [[nodiscard]] double gamma(double shape);

 private:
  std::uint64_t state_;
  std::uint64_t increment_;
};

[[nodiscard]] std::uint64_t splitmix64(std::uint64_t value);

[[nodiscard]] double portable_log(double x);  // natural, x > 0, within a few units of the last place
[[nodiscard]] double portable_exp(double x);  // relative error below 1e-13 for |x| < 700; 0 far below

}  // namespace moesim
