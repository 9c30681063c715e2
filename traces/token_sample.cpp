#include "traces/token_sample.hpp"

#include <algorithm>

#include "traces/random.hpp"

namespace moesim {
namespace {

std::uint64_t priority_of(const TokenRow& row) {
  std::uint64_t hash = splitmix64(static_cast<std::uint64_t>(row.key.iteration));
  hash = splitmix64(hash ^ static_cast<std::uint32_t>(row.key.micro_batch));
  hash = splitmix64(hash ^ static_cast<std::uint32_t>(row.key.source_rank));
  return splitmix64(hash ^ static_cast<std::uint64_t>(row.token));
}

}  // namespace

Status TokenSample::counts(const CountRow& /*row*/) { return {}; }

Status TokenSample::token(const TokenRow& row) {
  Set& set = sets_[{row.key.iteration, row.key.layer}];
  ++set.seen;
  Row kept{priority_of(row), row.token, row.key.source_rank, {}};
  if (set.rows.size() >= kept_) {
    if (!(kept < set.rows.front())) return {};
    std::pop_heap(set.rows.begin(), set.rows.end());
    set.rows.pop_back();
    --rows_;
  }
  kept.experts.assign(row.ids.begin(), row.ids.end());
  set.rows.push_back(std::move(kept));
  std::push_heap(set.rows.begin(), set.rows.end());
  if (++rows_ > limits_.rows) halve();
  return {};
}

// Of every set the lower half may stay.
void TokenSample::halve() {
  kept_ = std::max<std::size_t>(1, kept_ / 2);
  rows_ = 0;
  for (auto& [key, set] : sets_) {
    while (set.rows.size() > kept_) {
      std::pop_heap(set.rows.begin(), set.rows.end());
      set.rows.pop_back();
    }
    rows_ += set.rows.size();
  }
}

TokenSet TokenSample::of(std::int64_t iteration, std::int32_t layer) const {
  TokenSet result;
  const auto found = sets_.find({iteration, layer});
  if (found == sets_.end()) return result;
  std::vector<const Row*> rows;
  for (const Row& row : found->second.rows) rows.push_back(&row);
  std::sort(rows.begin(), rows.end(), [](const Row* a, const Row* b) { return *a < *b; });
  result.seen = found->second.seen;
  result.top_k = static_cast<int>(rows.front()->experts.size());
  for (const Row* row : rows) {
    result.experts.insert(result.experts.end(), row->experts.begin(), row->experts.end());
    result.sources.push_back(row->source);
  }
  return result;
}

}  // namespace moesim
