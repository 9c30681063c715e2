#include "sim/placement/token_floor.hpp"

#include <algorithm>
#include <functional>
#include <utility>

namespace moesim {
namespace {

// What one token names, each expert once, ascending.
void take_named(std::span<const std::int32_t> chosen, std::vector<std::int32_t>& named) {
  named.clear();
  for (const std::int32_t expert : chosen)
    if (expert >= 0) named.push_back(expert);
  std::sort(named.begin(), named.end());
  named.erase(std::unique(named.begin(), named.end()), named.end());
}

double pairs_of(std::size_t experts) { return 0.5 * static_cast<double>(experts) * (static_cast<double>(experts) - 1); }

// q(v): pairs in one part, x experts being divided evenly among v.
double fewest_pairs(std::size_t experts, std::size_t parts) {
  const std::size_t each = experts / parts;
  const std::size_t larger = experts % parts;
  return static_cast<double>(larger) * pairs_of(each + 1) + static_cast<double>(parts - larger) * pairs_of(each);
}

// Half the sum over experts of the `others` that are named with it most often.
double most_pairs(std::vector<double>& together, std::size_t experts, std::size_t others) {
  others = std::min(others, experts);
  double sum = 0;
  for (std::size_t e = 0; e < experts; ++e) {
    const auto row = together.begin() + static_cast<std::ptrdiff_t>(e * experts);
    const auto end = row + static_cast<std::ptrdiff_t>(experts);
    std::partial_sort(row, row + static_cast<std::ptrdiff_t>(others), end, std::greater<>());
    for (std::size_t i = 0; i < others; ++i) sum += row[static_cast<std::ptrdiff_t>(i)];
  }
  return 0.5 * sum;
}

}  // namespace

NamedExperts::NamedExperts(const TokenSet& tokens, int experts, const std::vector<bool>& counts_source)
    : of_size_(static_cast<std::size_t>(tokens.top_k) + 1, 0.0), named_(static_cast<std::size_t>(experts), 0.0) {
  std::vector<std::int32_t> named;
  for (std::size_t token = 0; token < tokens.size(); ++token) {
    if (!counts_source[static_cast<std::size_t>(tokens.sources[token])]) continue;
    take_named(tokens.of(token), named);
    of_size_[named.size()] += 1;
    for (const std::int32_t expert : named) named_[static_cast<std::size_t>(expert)] += 1;
  }
  for (std::size_t size = 1; size < of_size_.size(); ++size) tokens_ += of_size_[size];
  std::sort(named_.begin(), named_.end(), std::greater<>());
  double sum = 0;
  for (double& number : named_) sum += number, number = sum;
}

double NamedExperts::most_named(std::size_t experts) const {
  return experts == 0 ? 0 : named_[std::min(experts, named_.size()) - 1];
}

double NamedExperts::least_leaving(std::size_t experts) const {
  double room = most_named(experts);
  double leaving = tokens_;
  for (std::size_t size = 1; size < of_size_.size() && size <= experts; ++size) {
    const double stay = std::min(of_size_[size], room / static_cast<double>(size));
    leaving -= stay;
    room -= stay * static_cast<double>(size);
  }
  return leaving;
}

double NamedExperts::most_touching(std::size_t experts) const { return std::min(tokens_, most_named(experts)); }

double least_visits(const TokenSet& tokens, int experts, std::size_t part) {
  const auto count = static_cast<std::size_t>(experts);
  std::vector<double> together(count * count, 0.0);
  std::vector<double> of_size(static_cast<std::size_t>(tokens.top_k) + 1, 0.0);
  std::vector<std::int32_t> named;
  for (std::size_t token = 0; token < tokens.size(); ++token) {
    take_named(tokens.of(token), named);
    of_size[named.size()] += 1;
    for (const std::int32_t a : named)
      for (const std::int32_t b : named)
        if (a != b) together[static_cast<std::size_t>(a) * count + static_cast<std::size_t>(b)] += 1;
  }
  double visits = 0;
  std::vector<std::pair<double, double>> spared;  // pairs that a visit less costs, and tokens that can spare it
  for (std::size_t size = 1; size < of_size.size(); ++size) {
    if (of_size[size] == 0) continue;
    visits += of_size[size] * static_cast<double>(size);
    for (std::size_t parts = size; (parts - 1) * part >= size; --parts)
      spared.emplace_back(fewest_pairs(size, parts - 1) - fewest_pairs(size, parts), of_size[size]);
  }
  std::sort(spared.begin(), spared.end());
  double pairs = most_pairs(together, count, part - 1);
  for (const auto& [cost, can_spare] : spared) {
    const double spares = std::min(can_spare, pairs / cost);
    visits -= spares;
    pairs -= spares * cost;
  }
  return visits;
}

}  // namespace moesim
