#include "sim/sweep/axis.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/text.hpp"

namespace moesim {
namespace {

constexpr std::string_view kGrammar = "write 1,2,4 or 8:64:x2 (times two) or 1:4:+1 (plus one)";
// Lets 1:2:+0.1 reach 2 although ten steps of 0.1 are a little more than 1 in binary.
constexpr double kEndTolerance = 1e-9;

tl::unexpected<Error> axis_error(std::string what) { return invalid_input(std::move(what), {}, std::string(kGrammar)); }

std::optional<std::int64_t> number_from(std::string_view text, std::int64_t) {
  std::int64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> number_from(std::string_view text, double) {
  double value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

template <class Number>
class AxisParser {
 public:
  AxisParser(Number smallest, Number largest) : smallest_(smallest), largest_(largest) {}

  Result<std::vector<Number>> parse(std::string_view text) {
    if (trim(text).empty()) return axis_error("an axis needs at least one value");
    for (const std::string_view piece : split(text, ',')) MOESIM_TRY(parse_piece(trim(piece)));
    std::vector<Number> sorted = values_;
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end()) return axis_error(fmt::format("{} stands twice in '{}'", *twice, text));
    return std::move(values_);
  }

 private:
  Status parse_piece(std::string_view piece) {
    const std::vector<std::string_view> parts = split(piece, ':');
    if (parts.size() == 1) {
      MOESIM_ASSIGN(const Number value, bounded(piece, piece));
      return add(value);
    }
    if (parts.size() != 3) return axis_error(fmt::format("'{}' is neither a number nor a range START:END:STEP", piece));
    MOESIM_ASSIGN(const Number first, bounded(trim(parts[0]), piece));
    MOESIM_ASSIGN(const Number last, bounded(trim(parts[1]), piece));
    if (last < first) return axis_error(fmt::format("the range '{}' ends before it starts", piece));
    return add_range(first, last, trim(parts[2]), piece);
  }

  Result<Number> bounded(std::string_view text, std::string_view piece) const {
    const std::optional<Number> value = number_from(text, Number{});
    if (!value)
      return axis_error(
          fmt::format("'{}' in '{}' is no {}", text, piece, std::is_integral_v<Number> ? "whole number" : "number"));
    if (*value < smallest_ || *value > largest_)
      return axis_error(fmt::format("{} is outside {} to {}", *value, smallest_, largest_));
    return *value;
  }

  Status add_range(Number first, Number last, std::string_view step, std::string_view piece) {
    const std::optional<Number> by = step.size() < 2 ? std::nullopt : number_from(step.substr(1), Number{});
    if (!by || (step[0] != 'x' && step[0] != '+'))
      return axis_error(fmt::format("the step '{}' of '{}' is neither xN nor +N", step, piece));
    if (step[0] == 'x') {
      if (first <= 0) return axis_error(fmt::format("'{}' cannot be multiplied from {} upwards", piece, first));
      if (*by <= 1) return axis_error(fmt::format("the factor of '{}' must be larger than 1", piece));
      return add_products(first, last, *by);
    }
    if (*by <= 0) return axis_error(fmt::format("the step of '{}' must be larger than 0", piece));
    return add_sums(first, last, *by);
  }

  Status add_products(Number first, Number last, Number factor) {
    for (Number value = first;;) {
      MOESIM_TRY(add(value));
      if (value > last / factor) return {};
      value *= factor;
    }
  }

  Status add_sums(Number first, Number last, Number step) {
    // Counted in floating point only to refuse what is far too long; a range within the limit is counted exactly below.
    const double steps = (static_cast<double>(last) - static_cast<double>(first)) / static_cast<double>(step);
    if (steps >= static_cast<double>(kMostAxisValues)) return too_many();
    const auto count = static_cast<std::int64_t>(steps + kEndTolerance);
    for (std::int64_t i = 0; i <= count; ++i)
      MOESIM_TRY(add(std::min(static_cast<Number>(first + static_cast<Number>(i) * step), last)));
    return {};
  }

  Status add(Number value) {
    if (values_.size() == kMostAxisValues) return too_many();
    values_.push_back(value);
    return {};
  }

  static Status too_many() { return axis_error(fmt::format("an axis has at most {} values", kMostAxisValues)); }

  Number smallest_;
  Number largest_;
  std::vector<Number> values_;
};

}  // namespace

Result<std::vector<std::int64_t>> parse_integer_axis(std::string_view text, std::int64_t smallest,
                                                     std::int64_t largest) {
  return AxisParser<std::int64_t>(smallest, largest).parse(text);
}

Result<std::vector<double>> parse_number_axis(std::string_view text, double smallest, double largest) {
  return AxisParser<double>(smallest, largest).parse(text);
}

Result<std::vector<std::string>> parse_word_axis(std::string_view text) {
  std::vector<std::string> words;
  for (const std::string_view piece : split(text, ',')) {
    const std::string word(trim(piece));
    if (word.empty()) return invalid_input(fmt::format("'{}' holds an empty value", text), {}, "write one,two,three");
    if (std::find(words.begin(), words.end(), word) != words.end())
      return invalid_input(fmt::format("'{}' stands twice in '{}'", word, text));
    if (words.size() == kMostAxisValues)
      return invalid_input(fmt::format("an axis has at most {} values", kMostAxisValues));
    words.push_back(word);
  }
  return words;
}

}  // namespace moesim
