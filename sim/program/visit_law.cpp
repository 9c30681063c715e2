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

// Times 1 + w x; of x^0 to x^most. One value is handed on from power to power, here and below: vectors would be loaded across the
// edges of those that the last call has just stored, and wait for them (1.6 times as long).
void multiply_one(double* series, std::size_t most, double weight) {
  double below = series[0];
  for (std::size_t i = 1; i <= most; ++i) {
    const double own = series[i];
    series[i] = own + weight * below;
    below = own;
  }
}

// What powers of x are worth before 1 + w x, from what they are worth behind it; perhaps in place.
void step_before_one(const double* behind, std::size_t most, double weight, double* worth) {
  double own = behind[0];
  for (std::size_t i = 0; i < most; ++i) {
    const double above = behind[i + 1];
    worth[i] = own + weight * above;
    own = above;
  }
  worth[most] = own;
}

double value(const double* series, const double* worth, std::size_t size) {
  return std::inner_product(series, series + size, worth, 0.0);
}

}  // namespace

VisitLaw::VisitLaw(std::int64_t experts, std::int64_t top_k, const GateGroups& groups,
                   std::span<const std::int32_t> expert_of_slot)
    : top_k_(top_k), groups_(groups), weights_(static_cast<std::size_t>(experts)) {
  const std::int64_t n = groups_.limit() ? groups_.groups : 1;
  for (std::int64_t j = 0; groups_.limit() && j <= groups_.top_groups; ++j)
    ways_.push_back(binomial(n - j, groups_.top_groups - j));
  slots_of_group_.resize(static_cast<std::size_t>(n));
  for (std::int64_t slot = 0; slot < experts; ++slot) {
    const std::int64_t expert = expert_of_slot.empty() ? slot : expert_of_slot[static_cast<std::size_t>(slot)];
    group_of_slot_.push_back(static_cast<std::int32_t>(expert * n / experts));
    slots_of_group_[static_cast<std::size_t>(group_of_slot_.back())].push_back(static_cast<std::int32_t>(slot));
  }
  whole_.resize(slots_of_group_.size());
  worth_.assign(slots_of_group_.size() * width(), 0.0);
  worth_[width() - 1] = 1;  // without groups: of x^k
}

void VisitLaw::choose(std::span<const std::int32_t> counts, std::int64_t tokens) {
  counts_ = counts;
  tokens_ = tokens;
  if (top_k_ == 1 || tokens == 0) return;
  for (std::size_t slot = 0; slot < counts.size(); ++slot) {
    const double p = std::min(kMostLikely, static_cast<double>(counts[slot]) / static_cast<double>(tokens));
    weights_[slot] = p / (1 - p);
  }
  for (std::size_t g = 0; g < whole_.size(); ++g) group_series(static_cast<std::int32_t>(g), 0, 0, whole_[g]);
  if (groups_.limit()) value_groups();
  all_ = worth_[0] + value(whole_[0].data(), worth_.data(), width());
}

// What powers of x in a group's product are worth, all other groups multiplied out.
void VisitLaw::value_groups() {
  const std::size_t size = ways_.size() * width();
  const std::size_t n = whole_.size();
  behind_.assign((n + 1) * size, 0.0);
  for (std::size_t j = 0; j < ways_.size(); ++j) behind_[n * size + (j + 1) * width() - 1] = ways_[j];
  for (std::size_t g = n; g-- > 0;) {
    const double* const behind = behind_.data() + (g + 1) * size;
    double* const worth = behind_.data() + g * size;
    std::copy_n(behind, size, worth);
    for (std::size_t j = 0; j + 1 < ways_.size(); ++j)
      for (std::size_t i = 0; i < width(); ++i)
        for (std::size_t l = 1; i + l < width(); ++l)
          worth[j * width() + i] += whole_[g][l] * behind[(j + 1) * width() + i + l];
  }
  before_.assign(size, 0.0);
  before_[0] = 1;
  for (std::size_t g = 0; g < n; ++g) {
    const double* const behind = behind_.data() + (g + 1) * size;
    double* const worth = worth_.data() + g * width();
    std::fill_n(worth, width(), 0.0);
    worth[0] = value(before_.data(), behind, size);  // a group that is not touched has no y
    for (std::size_t j = 0; j + 1 < ways_.size(); ++j)
      for (std::size_t l = 1; l < width(); ++l)
        worth[l] += value(before_.data() + j * width(), behind + (j + 1) * width() + l, width() - l);
    multiply_group(before_.data(), whole_[g]);
  }
}

const VisitLaw::Cut& VisitLaw::cut_of(int parts) {
  const auto [entry, fresh] = cuts_.try_emplace(parts);
  Cut& cut = entry->second;
  if (!fresh) return cut;
  cut.inside.resize(slots_of_group_.size());
  const std::size_t slots = group_of_slot_.size() / static_cast<std::size_t>(parts);
  for (std::size_t part = 0; part < static_cast<std::size_t>(parts); ++part) {
    const auto first = group_of_slot_.begin() + static_cast<std::ptrdiff_t>(part * slots);
    std::vector<std::int32_t> touched(first, first + static_cast<std::ptrdiff_t>(slots));
    std::sort(touched.begin(), touched.end());
    touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
    if (touched.size() == 1) {
      cut.inside[static_cast<std::size_t>(touched.front())].parts.push_back(part);
      continue;
    }
    for (std::size_t slot = part * slots; slot < (part + 1) * slots; ++slot)
      cut.inside[static_cast<std::size_t>(group_of_slot_[slot])].further.push_back(static_cast<std::int32_t>(slot));
    const auto known = std::find(cut.sets.begin(), cut.sets.end(), touched);
    cut.across.push_back(part);
    cut.set_of_across.push_back(static_cast<std::size_t>(known - cut.sets.begin()));
    if (known == cut.sets.end()) cut.sets.push_back(std::move(touched));
  }
  return cut;
}

void VisitLaw::miss_parts_inside(const Cut::Inside& inside, const double* worth, std::size_t slots_of_part) {
  const auto most = static_cast<std::size_t>(top_k_);
  const std::size_t count = inside.parts.size();
  behind_.resize((count + 1) * width());
  std::copy_n(worth, width(), behind_.data() + count * width());
  for (std::size_t i = count; i-- > 0;) {
    double* const before = behind_.data() + i * width();
    const double* const weights = weights_.data() + inside.parts[i] * slots_of_part;
    step_before_one(before + width(), most, weights[0], before);
    for (std::size_t slot = 1; slot < slots_of_part; ++slot) step_before_one(before, most, weights[slot], before);
  }
  before_.assign(width(), 0.0);
  before_[0] = 1;
  for (const std::int32_t slot : inside.further)
    multiply_one(before_.data(), most, weights_[static_cast<std::size_t>(slot)]);
  for (std::size_t i = 0; i < count; ++i) {
    misses_[inside.parts[i]] = value(before_.data(), behind_.data() + (i + 1) * width(), width()) / all_;
    const double* const weights = weights_.data() + inside.parts[i] * slots_of_part;
    for (std::size_t slot = 0; slot < slots_of_part; ++slot) multiply_one(before_.data(), most, weights[slot]);
  }
}

void VisitLaw::group_series(std::int32_t group, std::size_t first, std::size_t last, Series& result) const {
  const auto most = static_cast<std::size_t>(top_k_);
  result.assign(most + 1, 0.0);
  result[0] = 1;
  for (const std::int32_t slot : slots_of_group_[static_cast<std::size_t>(group)]) {
    const auto place = static_cast<std::size_t>(slot);
    if (place < first || place >= last) multiply_one(result.data(), most, weights_[place]);
  }
  result[0] = 0;
}

void VisitLaw::multiply_group(double* series, const Series& factor) const {
  for (std::size_t j = ways_.size() - 1; j > 0; --j)
    for (std::size_t i = 0; i < width(); ++i) {
      double sum = 0;
      for (std::size_t l = 1; l <= i; ++l) sum += series[(j - 1) * width() + i - l] * factor[l];
      series[j * width() + i] += sum;
    }
}

// Parts that touch the same groups, as neighbours do, share the product of all others.
void VisitLaw::miss_parts_across(const Cut& cut, std::size_t slots_of_part) {
  const std::size_t size = ways_.size() * width();
  untouched_.resize(std::max(untouched_.size(), cut.sets.size()));
  for (std::size_t s = 0; s < cut.sets.size(); ++s) {
    untouched_[s].assign(size, 0.0);
    untouched_[s][0] = 1;
    for (std::size_t g = 0; g < whole_.size(); ++g)
      if (!std::binary_search(cut.sets[s].begin(), cut.sets[s].end(), static_cast<std::int32_t>(g)))
        multiply_group(untouched_[s].data(), whole_[g]);
  }
  for (std::size_t i = 0; i < cut.across.size(); ++i) {
    const std::size_t part = cut.across[i];
    before_ = untouched_[cut.set_of_across[i]];
    for (const std::int32_t group : cut.sets[cut.set_of_across[i]]) {
      group_series(group, part * slots_of_part, (part + 1) * slots_of_part, behind_);
      multiply_group(before_.data(), behind_);
    }
    double without = 0;
    for (std::size_t j = 0; j < ways_.size(); ++j) without += ways_[j] * before_[(j + 1) * width() - 1];
    misses_[part] = without / all_;
  }
}

void VisitLaw::visits(int parts, std::vector<std::int32_t>& result) {
  const std::size_t slots = counts_.size() / static_cast<std::size_t>(parts);
  misses_.assign(static_cast<std::size_t>(parts), -1);
  if (top_k_ > 1 && tokens_ > 0 && all_ > 0) {
    const Cut& cut = cut_of(parts);
    for (std::size_t g = 0; g < cut.inside.size(); ++g)
      if (!cut.inside[g].parts.empty()) miss_parts_inside(cut.inside[g], worth_.data() + g * width(), slots);
    if (!cut.across.empty()) miss_parts_across(cut, slots);
  }
  result.resize(static_cast<std::size_t>(parts));
  for (std::size_t part = 0; part < result.size(); ++part) {
    const auto of_part = counts_.subspan(part * slots, slots);
    const std::int64_t sum = std::accumulate(of_part.begin(), of_part.end(), std::int64_t{0});
    const std::int64_t least = *std::max_element(of_part.begin(), of_part.end());
    // A count may be more than the tokens that there are, where a capacity was padded: each of its rows is one then.
    const std::int64_t most = std::max(least, std::min(sum, tokens_));
    std::int64_t expected = most;
    if (misses_[part] >= 0) expected = std::llround(static_cast<double>(tokens_) * (1 - misses_[part]));
    result[part] = static_cast<std::int32_t>(std::clamp(expected, least, most));
  }
}

}  // namespace moesim
