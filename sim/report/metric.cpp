#include "sim/report/metric.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"
#include "base/units.hpp"

namespace moesim {
namespace {

std::string decimal_prefixed(double value, std::string_view unit) {
  constexpr std::array<std::string_view, 9> kPrefixes = {"", "k", "M", "G", "T", "P", "E", "Z", "Y"};
  std::size_t prefix = 0;
  while (std::abs(value) >= 999.5 && prefix + 1 < kPrefixes.size()) {
    value /= 1000;
    ++prefix;
  }
  return fmt::format("{:.3g} {}{}", value, kPrefixes[prefix], unit);
}

std::string number_text(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e6) return fmt::format("{:.0f}", value);
  return fmt::format("{:.4g}", value);
}

// What rounds to nothing has no sign: "0.0 %", not "-0.0 %".
std::string percent_text(double ratio) {
  std::string text = fmt::format("{:.1f} %", ratio * 100);
  return text == "-0.0 %" ? text.substr(1) : text;
}

std::string in_unit(double value, MetricUnit unit) {
  if (!std::isfinite(value)) return fmt::format("{}", value);
  switch (unit) {
    case MetricUnit::kNone: return number_text(value);
    case MetricUnit::kSeconds: return humanize(Seconds(value));
    case MetricUnit::kBytes: return humanize(Bytes(static_cast<std::int64_t>(std::llround(value))));
    case MetricUnit::kBytesPerSecond: return humanize(BytesPerSecond(value));
    case MetricUnit::kFlops: return decimal_prefixed(value, "FLOP");
    case MetricUnit::kFlopsPerSecond: return decimal_prefixed(value, "FLOP/s");
    case MetricUnit::kTokensPerSecond: return fmt::format("{:.{}f}", value, std::abs(value) < 100 ? 1 : 0);
    case MetricUnit::kRatio: return percent_text(value);
    case MetricUnit::kFactor: return fmt::format("{:.2f}x", value);
  }
  return number_text(value);
}

struct DisplayText {
  MetricUnit unit;
  std::string operator()(std::monostate) const { return "-"; }
  std::string operator()(bool value) const { return value ? "yes" : "no"; }
  std::string operator()(std::int64_t value) const {
    return unit == MetricUnit::kNone ? std::to_string(value) : in_unit(static_cast<double>(value), unit);
  }
  std::string operator()(double value) const { return in_unit(value, unit); }
  std::string operator()(const std::string& value) const { return value; }
};

struct PlainText {
  std::string operator()(std::monostate) const { return {}; }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const { return std::to_string(value); }
  std::string operator()(double value) const { return fmt::format("{}", value); }
  std::string operator()(const std::string& value) const { return value; }
};

}  // namespace

void MetricTable::add_row(std::vector<MetricValue> values, RowTone tone) {
  MOESIM_ASSERT(values.size() == columns_.size());
  rows_.push_back({std::move(values), tone});
}

MetricTable record_of(std::vector<Metric> metrics) {
  std::vector<MetricColumn> columns;
  std::vector<MetricValue> values;
  for (Metric& metric : metrics) {
    columns.push_back(std::move(metric.column));
    values.push_back(std::move(metric.value));
  }
  MetricTable table(std::move(columns));
  table.add_row(std::move(values));
  return table;
}

std::string display_text(const MetricValue& value, MetricUnit unit) { return std::visit(DisplayText{unit}, value); }

std::string plain_text(const MetricValue& value) { return std::visit(PlainText{}, value); }

bool is_number(const MetricValue& value) {
  return std::holds_alternative<std::int64_t>(value) || std::holds_alternative<double>(value);
}

}  // namespace moesim
