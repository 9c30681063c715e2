#include "base/unit_parser.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <span>
#include <string>

#include "base/text.hpp"

namespace moesim {
namespace {

struct NumberAndUnit {
  double number = 0;
  std::string_view unit;
};

Result<NumberAndUnit> split_number(std::string_view text, std::string_view accepted) {
  const std::string_view trimmed = trim(text);
  NumberAndUnit result;
  const auto [end, code] = std::from_chars(trimmed.data(), trimmed.data() + trimmed.size(), result.number);
  const std::string hint = fmt::format("write a number and a unit, like {}", accepted);
  if (code != std::errc{}) return invalid_input(fmt::format("'{}' is not a quantity", text), {}, hint);
  if (!std::isfinite(result.number) || result.number < 0)
    return invalid_input(fmt::format("'{}' must be finite and not negative", text), {}, hint);
  result.unit = trim(trimmed.substr(static_cast<std::size_t>(end - trimmed.data())));
  if (result.unit.empty()) return invalid_input(fmt::format("'{}' has no unit", text), {}, hint);
  return result;
}

struct Prefix {
  std::string_view text;
  double factor;
};
// Longest first, so that "Gi" is not read as "G".
constexpr std::array<Prefix, 11> kPrefixes = {{{"Ki", 1024.0},
                                               {"Mi", 1048576.0},
                                               {"Gi", 1073741824.0},
                                               {"Ti", 1099511627776.0},
                                               {"k", 1e3},
                                               {"K", 1e3},
                                               {"M", 1e6},
                                               {"G", 1e9},
                                               {"T", 1e12},
                                               {"P", 1e15},
                                               {"", 1.0}}};

// The prefix factor when `unit` is PREFIX followed by one of `stems`; the stem's own factor is multiplied in.
struct Stem {
  std::string_view text;
  double factor;
};
Result<double> unit_factor(std::string_view text, std::string_view unit, std::span<const Stem> stems,
                           std::string_view accepted) {
  for (const Prefix& prefix : kPrefixes) {
    if (!unit.starts_with(prefix.text)) continue;
    for (const Stem& stem : stems)
      if (unit.substr(prefix.text.size()) == stem.text) return prefix.factor * stem.factor;
  }
  return invalid_input(fmt::format("'{}': unknown unit '{}'", text, unit), {}, fmt::format("accepted: {}", accepted));
}

template <class Quantity>
Result<Quantity> parse(std::string_view text, std::span<const Stem> stems, std::string_view accepted) {
  MOESIM_ASSIGN(const NumberAndUnit parts, split_number(text, accepted));
  MOESIM_ASSIGN(const double factor, unit_factor(text, parts.unit, stems, accepted));
  const double value = parts.number * factor;
  if (!std::isfinite(value)) return invalid_input(fmt::format("'{}' is too large", text));
  return Quantity(value);
}

}  // namespace

Result<Bytes> parse_bytes(std::string_view text) {
  constexpr std::string_view kAccepted = "80GB (1e9), 80GiB (2^30), 512MiB, 100kB, 64B";
  constexpr std::array<Stem, 1> kStems = {{{"B", 1}}};
  MOESIM_ASSIGN(const NumberAndUnit parts, split_number(text, kAccepted));
  MOESIM_ASSIGN(const double factor, unit_factor(text, parts.unit, kStems, kAccepted));
  const double value = parts.number * factor;
  if (value > 9e18) return invalid_input(fmt::format("'{}' is too large", text));
  return Bytes(static_cast<std::int64_t>(std::llround(value)));
}

Result<BytesPerSecond> parse_bytes_per_second(std::string_view text) {
  constexpr std::array<Stem, 6> kStems = {
      {{"B/s", 1}, {"Bps", 1}, {"b/s", 0.125}, {"bit/s", 0.125}, {"bps", 0.125}, {"bits/s", 0.125}}};
  return parse<BytesPerSecond>(text, kStems, "450GB/s (bytes), 400Gbit/s or 400Gbps (bits), 12.5GiB/s");
}

Result<Seconds> parse_seconds(std::string_view text) {
  constexpr std::string_view kAccepted = "2s, 1.5ms, 3us, 20ns";
  MOESIM_ASSIGN(const NumberAndUnit parts, split_number(text, kAccepted));
  if (parts.unit == "s") return Seconds(parts.number);
  if (parts.unit == "ms") return Seconds(parts.number * 1e-3);
  if (parts.unit == "us" || parts.unit == "µs") return Seconds(parts.number * 1e-6);
  if (parts.unit == "ns") return Seconds(parts.number * 1e-9);
  if (parts.unit == "min") return Seconds(parts.number * 60);
  return invalid_input(fmt::format("'{}': unknown unit '{}'", text, parts.unit), {},
                       fmt::format("accepted: {}", kAccepted));
}

Result<FlopsPerSecond> parse_flops_per_second(std::string_view text) {
  constexpr std::array<Stem, 6> kStems = {
      {{"FLOPS", 1}, {"FLOP/s", 1}, {"FLOPs", 1}, {"flops", 1}, {"OPS", 1}, {"OP/s", 1}}};
  return parse<FlopsPerSecond>(text, kStems, "989TFLOPS, 1.98PFLOP/s, 1979TOPS (integer formats)");
}

Result<Hertz> parse_hertz(std::string_view text) {
  constexpr std::array<Stem, 1> kStems = {{{"Hz", 1}}};
  return parse<Hertz>(text, kStems, "1830MHz, 1.83GHz");
}

}  // namespace moesim
