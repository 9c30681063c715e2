#include "traces/random.hpp"

#include <cmath>

#include "base/error.hpp"

namespace moesim {
namespace {

constexpr double kLn2 = 0.693147180559945309417;
constexpr double kSqrtHalf = 0.707106781186547524401;
constexpr double kLargestExponent = 700;

}  // namespace

std::uint64_t splitmix64(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15ULL;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL;
  return value ^ (value >> 31);
}

Pcg32::Pcg32(std::uint64_t seed, std::uint64_t stream) : state_(0), increment_(stream << 1 | 1) {
  static_cast<void>(next());
  state_ += seed;
  static_cast<void>(next());
}

std::uint32_t Pcg32::next() {
  const std::uint64_t old = state_;
  state_ = old * 6364136223846793005ULL + increment_;
  const auto shifted = static_cast<std::uint32_t>(((old >> 18) ^ old) >> 27);
  const auto rotation = static_cast<unsigned>(old >> 59);
  return shifted >> rotation | shifted << ((32 - rotation) & 31);
}

std::uint32_t Pcg32::below(std::uint32_t bound) {
  MOESIM_ASSERT(bound > 0);
  const std::uint32_t threshold = (0U - bound) % bound;  // rejects the incomplete last round
  while (true) {
    const std::uint32_t value = next();
    if (value >= threshold) return value % bound;
  }
}

double Pcg32::uniform() {
  const std::uint64_t high = next() >> 6;
  const std::uint64_t low = next() >> 6;
  return (static_cast<double>(high << 26 | low) + 0.5) * 0x1p-52;
}

double Pcg32::near_normal() {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += uniform();
  return sum;
}

double Pcg32::gamma(double shape) {
  MOESIM_ASSERT(shape > 0);
  if (shape < 1) {
    const double boosted = gamma(shape + 1);
    return boosted * portable_exp(portable_log(uniform()) / shape);
  }
  const double d = shape - 1.0 / 3;
  const double c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = near_normal();
    const double v = 1 + c * x;
    if (v <= 0) continue;
    const double cube = v * v * v;
    if (portable_log(uniform()) < 0.5 * x * x + d - d * cube + d * portable_log(cube)) return d * cube;
  }
}

double portable_log(double x) {
  MOESIM_ASSERT(x > 0);
  int exponent = 0;
  double mantissa = std::frexp(x, &exponent);
  if (mantissa < kSqrtHalf) {
    mantissa *= 2;
    --exponent;
  }
  // ln m = 2 artanh t with |t| < 0.172: fifteen terms leave less than 1e-24.
  const double t = (mantissa - 1) / (mantissa + 1);
  double sum = 0;
  for (int k = 29; k >= 1; k -= 2) sum = sum * t * t + 1.0 / k;
  return 2 * t * sum + exponent * kLn2;
}

double portable_exp(double x) {
  if (x < -kLargestExponent) return 0;
  MOESIM_ASSERT(x < kLargestExponent);
  const double whole = std::floor(x / kLn2 + 0.5);
  const double rest = x - whole * kLn2;  // at most ln 2 / 2
  double sum = 1;
  for (int k = 18; k >= 1; --k) sum = 1 + sum * rest / k;
  return std::ldexp(sum, static_cast<int>(whole));
}

}  // namespace moesim
