#include "sim/program/visit_law.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace moesim {
namespace {

// An expert that every token chose has no finite weight.
constexpr double kMostLikely = 1 - 1e-6;

double binomial(std::int64_t n, std::int64_t k) {
  if (k < 0 || k > n) return 0;
  double result = 1;
  for (std::int64_t i = 1; i <= k; ++i) result = result * static_cast<double>(n - k + i) / static_cast<double>(i);
  return result;
}

// Times 1 + w x, where the series ends with x^degree until now.
void multiply_one(double* series, std::size_t degree, std::size_t most, double weight) {
  for (std::size_t i = std::min(degree + 1, most); i > 0; --i) series[i] += weight * series[i - 1];
}

// Times a factor that ends with x^degree, in place; both of x^0 to x^most.
void multiply(double* series, const double* factor, std::size_t degree, std::size_t most) {
  for (std::size_t i = most + 1; i-- > 0;) {
    double sum = 0;
    for (std::size_t j = 0; j <= std::min(i, degree); ++j) sum += series[i - j] * factor[j];
    series[i] = sum;
  }
}

}  // namespace

VisitLaw::VisitLaw(std::int64_t experts, std::int64_t top_k, const GateGroups& groups,
                   std::span<const std::int32_t> expert_of_slot)
    : top_k_(top_k), groups_(groups), weights_(static_cast<std::size_t>(experts)) {
  if (!groups_.limit()) return;
  const std::int64_t n = groups_.groups;
  for (std::int64_t j = 0; j <= groups_.top_groups; ++j) ways_.push_back(binomial(n - j, groups_.top_groups - j));
  slots_of_group_.resize(static_cast<std::size_t>(n));
  for (std::int64_t slot = 0; slot < experts; ++slot) {
    const std::int64_t expert = expert_of_slot.empty() ? slot : expert_of_slot[static_cast<std::size_t>(slot)];
    group_of_slot_.push_back(static_cast<std::int32_t>(expert * n / experts));
    slots_of_group_[static_cast<std::size_t>(group_of_slot_.back())].push_back(static_cast<std::int32_t>(slot));
  }
}

void VisitLaw::set_weights(std::span<const std::int32_t> counts, std::int64_t tokens) {
  for (std::size_t slot = 0; slot < counts.size(); ++slot) {
    const double p = std::min(kMostLikely, static_cast<double>(counts[slot]) / static_cast<double>(tokens));
    weights_[slot] = p / (1 - p);
  }
}

// The products of the parts before each one and of those behind it.
void VisitLaw::misses_without_groups(int parts) {
  const auto count = static_cast<std::size_t>(parts);
  const auto most = static_cast<std::size_t>(top_k_);
  const std::size_t width = weights_.size() / count;
  const std::size_t degree = std::min(width, most);
  of_parts_.assign(count * (most + 1), 0.0);
  behind_.assign((count + 1) * (most + 1), 0.0);
  before_.assign(most + 1, 0.0);
  behind_[count * (most + 1)] = before_[0] = 1;
  for (std::size_t part = count; part-- > 0;) {
    double* const own = of_parts_.data() + part * (most + 1);
    own[0] = 1;
    for (std::size_t i = 0; i < width; ++i) multiply_one(own, i, most, weights_[part * width + i]);
    double* const behind = behind_.data() + part * (most + 1);
    std::copy_n(behind + most + 1, most + 1, behind);
    multiply(behind, own, degree, most);
  }
  const double all = behind_[most];
  for (std::size_t part = 0; part < count; ++part) {
    const double* const behind = behind_.data() + (part + 1) * (most + 1);
    double without = 0;
    for (std::size_t i = 0; i <= most; ++i) without += before_[i] * behind[most - i];
    misses_[part] = all > 0 ? without / all : -1;
    multiply(before_.data(), of_parts_.data() + part * (most + 1), degree, most);
  }
}

const VisitLaw::Cut& VisitLaw::cut_of(int parts) {
  const auto [entry, fresh] = cuts_.try_emplace(parts);
  Cut& cut = entry->second;
  if (!fresh) return cut;
  const std::size_t width = group_of_slot_.size() / static_cast<std::size_t>(parts);
  for (auto first = group_of_slot_.begin(); first != group_of_slot_.end();
       first += static_cast<std::ptrdiff_t>(width)) {
    std::vector<std::int32_t> touched(first, first + static_cast<std::ptrdiff_t>(width));
    std::sort(touched.begin(), touched.end());
    touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
    const auto known = std::find(cut.sets.begin(), cut.sets.end(), touched);
    cut.set_of_part.push_back(static_cast<std::size_t>(known - cut.sets.begin()));
    if (known == cut.sets.end()) cut.sets.push_back(std::move(touched));
  }
  return cut;
}

void VisitLaw::group_series(std::int32_t group, std::size_t first, std::size_t last, Series& result) const {
  const auto most = static_cast<std::size_t>(top_k_);
  result.assign(most + 1, 0.0);
  result[0] = 1;
  std::size_t degree = 0;
  for (const std::int32_t slot : slots_of_group_[static_cast<std::size_t>(group)]) {
    const auto place = static_cast<std::size_t>(slot);
    if (place < first || place >= last) multiply_one(result.data(), degree++, most, weights_[place]);
  }
  result[0] = 0;
}

void VisitLaw::multiply_group(Series& series, const Series& factor) const {
  const auto width = static_cast<std::size_t>(top_k_) + 1;
  for (auto j = static_cast<std::size_t>(groups_.top_groups); j > 0; --j)
    for (std::size_t i = 0; i < width; ++i) {
      double sum = 0;
      for (std::size_t l = 1; l <= i; ++l) sum += series[(j - 1) * width + i - l] * factor[l];
      series[j * width + i] += sum;
    }
}

double VisitLaw::finish(const Series& series, const Series& factor) const {
  const auto width = static_cast<std::size_t>(top_k_) + 1;
  double sum = 0;
  for (std::size_t j = 0; j < ways_.size(); ++j) {
    double coefficient = series[j * width + width - 1];
    for (std::size_t l = 1; j > 0 && l < width; ++l) coefficient += series[(j - 1) * width + width - 1 - l] * factor[l];
    sum += ways_[j] * coefficient;
  }
  return sum;
}

// Parts that touch the same groups, as neighbours do, share the product of all others. Of the last group that is multiplied only
// the coefficient of x^k is needed.
void VisitLaw::misses_with_groups(int parts) {
  const Cut& cut = cut_of(parts);
  whole_.resize(slots_of_group_.size());
  for (std::size_t g = 0; g < whole_.size(); ++g) group_series(static_cast<std::int32_t>(g), 0, 0, whole_[g]);
  untouched_.resize(cut.sets.size());
  for (std::size_t s = 0; s < cut.sets.size(); ++s) {
    untouched_[s].assign(ways_.size() * (static_cast<std::size_t>(top_k_) + 1), 0.0);
    untouched_[s][0] = 1;
    for (std::size_t g = 0; g < whole_.size(); ++g)
      if (!std::binary_search(cut.sets[s].begin(), cut.sets[s].end(), static_cast<std::int32_t>(g)))
        multiply_group(untouched_[s], whole_[g]);
  }
  // Z without the slots of [first, last), a part whose groups are the set.
  const auto z = [&](std::size_t set, std::size_t first, std::size_t last) {
    const std::vector<std::int32_t>& touched = cut.sets[set];
    const Series* rest = &untouched_[set];
    for (std::size_t t = 0; t + 1 < touched.size(); ++t) {
      if (t == 0) before_ = *rest;
      group_series(touched[t], first, last, behind_);
      multiply_group(before_, behind_);
      rest = &before_;
    }
    group_series(touched.back(), first, last, behind_);
    return finish(*rest, behind_);
  };
  const double all = z(0, 0, 0);
  const std::size_t width = weights_.size() / static_cast<std::size_t>(parts);
  for (std::size_t part = 0; part < misses_.size(); ++part)
    misses_[part] = all > 0 ? z(cut.set_of_part[part], part * width, (part + 1) * width) / all : -1;
}

void VisitLaw::visits(std::span<const std::int32_t> counts, std::int64_t tokens, int parts,
                      std::vector<std::int32_t>& result) {
  const std::size_t width = counts.size() / static_cast<std::size_t>(parts);
  misses_.assign(static_cast<std::size_t>(parts), -1);
  if (top_k_ > 1 && tokens > 0) {
    set_weights(counts, tokens);
    if (groups_.limit())
      misses_with_groups(parts);
    else
      misses_without_groups(parts);
  }
  result.resize(static_cast<std::size_t>(parts));
  for (std::size_t part = 0; part < result.size(); ++part) {
    const auto of_part = counts.subspan(part * width, width);
    const std::int64_t sum = std::accumulate(of_part.begin(), of_part.end(), std::int64_t{0});
    const std::int64_t least = *std::max_element(of_part.begin(), of_part.end());
    // A count may be more than the tokens that there are, where a capacity was padded: each of its rows is one then.
    const std::int64_t most = std::max(least, std::min(sum, tokens));
    std::int64_t expected = most;
    if (misses_[part] >= 0) expected = std::llround(static_cast<double>(tokens) * (1 - misses_[part]));
    result[part] = static_cast<std::int32_t>(std::clamp(expected, least, most));
  }
}

}  // namespace moesim
