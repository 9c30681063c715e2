#include "traces/proportional.hpp"

#include <algorithm>
#include <bit>
#include <numeric>

#include "base/error.hpp"

namespace moesim {
namespace {

constexpr int kWeightBits = 31;

std::uint64_t sum_of(std::span<const std::uint64_t> values) {
  return std::accumulate(values.begin(), values.end(), std::uint64_t{0});
}

}  // namespace

// The plain method over weights_; ignores the cap.
void ProportionalRounder::share(std::int64_t target, std::span<std::int64_t> carry, std::span<std::int32_t> out) {
  const std::size_t n = weights_.size();
  const auto total = static_cast<std::int64_t>(sum_of(weights_));
  const double scale = static_cast<double>(target) / static_cast<double>(total);
  std::int64_t left = target;
  remainders_.resize(n);
  for (std::size_t e = 0; e < n; ++e) {
    const auto weight = static_cast<std::int64_t>(weights_[e]);
    // The floating-point quotient is only a guess that saves a division; the remainder below is exact.
    auto whole = static_cast<std::int64_t>(static_cast<double>(weight) * scale);
    std::int64_t remainder = weight * target - whole * total + (carry.empty() ? 0 : carry[e]);
    while (remainder < 0 && whole > 0) remainder += total, --whole;
    while (remainder >= total) remainder -= total, ++whole;
    out[e] = static_cast<std::int32_t>(whole);
    remainders_[e] = remainder;
    left -= whole;
  }
  if (left > 0) {
    order_.resize(n);
    std::iota(order_.begin(), order_.end(), 0);
    const auto larger = [&](std::int32_t a, std::int32_t b) {
      const std::int64_t ra = remainders_[static_cast<std::size_t>(a)];
      const std::int64_t rb = remainders_[static_cast<std::size_t>(b)];
      return ra != rb ? ra > rb : a < b;
    };
    const auto rounds = left / static_cast<std::int64_t>(n);  // above 0 only with carried debts
    for (std::size_t e = 0; rounds > 0 && e < n; ++e) {
      out[e] += static_cast<std::int32_t>(rounds);
      remainders_[e] -= rounds * total;
    }
    left -= rounds * static_cast<std::int64_t>(n);
    if (left > 0) std::nth_element(order_.begin(), order_.begin() + left, order_.end(), larger);
    for (std::int64_t i = 0; i < left; ++i) {
      const auto e = static_cast<std::size_t>(order_[static_cast<std::size_t>(i)]);
      ++out[e];
      remainders_[e] -= total;
    }
  }
  // Carried credit can make the whole parts too many by a few; the smallest claims give back.
  for (; left < 0; ++left) {
    std::size_t giver = n;
    for (std::size_t e = 0; e < n; ++e)
      if (out[e] > 0 && (giver == n || remainders_[e] < remainders_[giver])) giver = e;
    --out[giver];
    remainders_[giver] += total;
  }
  if (!carry.empty()) std::copy(remainders_.begin(), remainders_.end(), carry.begin());
}

bool ProportionalRounder::round(std::span<const std::uint64_t> weights, std::int64_t target, std::int64_t cap,
                                std::span<std::int64_t> carry, std::span<std::int32_t> out) {
  MOESIM_ASSERT(weights.size() == out.size() && (carry.empty() || carry.size() == out.size()));
  MOESIM_ASSERT(target >= 0 && target < (std::int64_t{1} << 31) && cap >= 0);
  MOESIM_ASSERT(target <= cap * static_cast<std::int64_t>(out.size()));
  const std::uint64_t total = sum_of(weights);
  MOESIM_ASSERT(total > 0);
  weights_.assign(weights.begin(), weights.end());
  const int excess = static_cast<int>(std::bit_width(total)) - kWeightBits;
  if (excess > 0)
    for (std::uint64_t& w : weights_) w = w == 0 ? 0 : std::max<std::uint64_t>(1, w >> excess);

  share(target, carry, out);
  if (std::none_of(out.begin(), out.end(), [&](std::int32_t count) { return count > cap; })) return false;

  // Pin the entries at the cap and share the rest among the others, until none is above it. Carrying would push into
  // the cap again and again, so it stops here.
  bool spread = false;
  std::vector<bool> pinned(out.size(), false);
  if (!carry.empty()) std::fill(carry.begin(), carry.end(), 0);
  std::int64_t rest = target;
  std::vector<std::int32_t> shared(out.begin(), out.end());
  while (true) {
    bool any = false;
    for (std::size_t e = 0; e < out.size(); ++e) {
      if (pinned[e] || shared[e] <= cap) continue;
      pinned[e] = any = true;
      rest -= cap;
      weights_[e] = 0;
    }
    if (!any) break;
    if (rest > 0 && sum_of(weights_) == 0) {
      spread = true;
      for (std::size_t e = 0; e < out.size(); ++e) weights_[e] = pinned[e] ? 0 : 1;
    }
    if (rest == 0) {
      std::fill(shared.begin(), shared.end(), 0);
      break;
    }
    share(rest, {}, shared);
  }
  for (std::size_t e = 0; e < out.size(); ++e) out[e] = pinned[e] ? static_cast<std::int32_t>(cap) : shared[e];
  return spread;
}

}  // namespace moesim
