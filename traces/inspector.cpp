#include "traces/inspector.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace moesim {
namespace {

constexpr std::size_t kMostKeys = 4 << 20;
constexpr std::size_t kMostExperts = 65536;
constexpr std::int32_t kMostLayers = 65535;
constexpr std::int32_t kMostMicroBatches = (1 << 24) - 1;
constexpr std::int32_t kMostRanks = (1 << 24) - 2;
constexpr std::uint64_t kWarmUpRows = 1000;

std::uint64_t mixed(std::uint64_t x) {  // the finaliser of splitmix64
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

std::string describe(const RowKey& key) {
  return fmt::format("iteration {}, layer {}, micro-batch {}, source rank {}", key.iteration, key.layer,
                     key.micro_batch, key.source_rank);
}

}  // namespace

bool RowKeySet::insert(const RowKey& key) {
  if (used_ * 2 >= slots_.size()) grow();
  const auto iteration = static_cast<std::uint64_t>(key.iteration);
  // Layer 16 bits, micro-batch 24, rank + 1 24; the inspector has checked the ranges. Never 0 thanks to layer + 1.
  const std::uint64_t rest = (static_cast<std::uint64_t>(key.layer + 1) << 48) |
                             (static_cast<std::uint64_t>(key.micro_batch) << 24) |
                             static_cast<std::uint64_t>(key.source_rank + 1);
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t i = mixed(rest + mixed(iteration)) & mask;; i = (i + 1) & mask) {
    Slot& slot = slots_[i];
    if (slot.rest == 0) {
      slot = {iteration, rest};
      ++used_;
      return true;
    }
    if (slot.rest == rest && slot.iteration == iteration) return false;
  }
}

void RowKeySet::grow() {
  std::vector<Slot> old = std::move(slots_);
  slots_.assign(std::max<std::size_t>(1024, old.size() * 2), Slot{});
  const std::size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.rest == 0) continue;
    std::size_t i = mixed(slot.rest + mixed(slot.iteration)) & mask;
    while (slots_[i].rest != 0) i = (i + 1) & mask;
    slots_[i] = slot;
  }
}

void RowKeySet::clear() {
  std::fill(slots_.begin(), slots_.end(), Slot{});
  used_ = 0;
}

Status TraceInspector::counts(const CountRow& row) {
  MOESIM_TRY(check_shape(row));
  MOESIM_TRY(check_duplicate(row));
  check_sum(row);
  check_repetition(row);
  ++rows_;
  return next_.counts(row);
}

Status TraceInspector::token(const TokenRow& row) { return next_.token(row); }

Status TraceInspector::check_shape(const CountRow& row) {
  if (rows_ == 0) {
    experts_ = row.counts.size();
    if (experts_ < 2 || experts_ > kMostExperts)
      return invalid_input(fmt::format("{} experts; a trace has 2 to {}", experts_, kMostExperts), row.place.text());
  }
  if (row.counts.size() != experts_)
    return invalid_input(fmt::format("row has {} experts, the first row has {}", row.counts.size(), experts_),
                         row.place.text());
  const RowKey& key = row.key;
  if (key.iteration < 0 || key.layer < 0 || key.layer >= kMostLayers || key.micro_batch < 0 ||
      key.micro_batch > kMostMicroBatches || key.source_rank < kSummedOverRanks || key.source_rank > kMostRanks)
    return invalid_input(fmt::format("label out of range: {}", describe(key)), row.place.text(),
                         "iterations, layers, micro-batches and ranks count from 0; rank -1 means summed over ranks");
  per_rank_rows_ += key.source_rank == kSummedOverRanks ? 0 : 1;
  if (per_rank_rows_ != 0 && per_rank_rows_ != rows_ + 1)
    return invalid_input("rows per source rank are mixed with rows summed over ranks", row.place.text(),
                         "keep one kind");
  return {};
}

Status TraceInspector::check_duplicate(const CountRow& row) {
  const bool ascends = rows_ == 0 || row.key > last_;
  last_ = row.key;
  if (seen_.size() == kMostKeys) {
    seen_.clear();
    forgot_keys_ = true;
  }
  // Rows in strictly ascending order cannot repeat, even after keys were forgotten.
  if (!ascends && forgot_keys_ && ascending_)
    findings_.add(Severity::kInfo, "duplicates-unchecked",
                  fmt::format("more than {} rows and not in ascending order: repeated rows that lie far apart are not "
                              "noticed",
                              kMostKeys),
                  row.place.text());
  ascending_ = ascending_ && ascends;
  if (seen_.insert(row.key)) return {};
  return invalid_input(fmt::format("row appears twice: {}", describe(row.key)), row.place.text(),
                       "remove one of them, or give the runs different iteration numbers");
}

void TraceInspector::check_sum(const CountRow& row) {
  const std::uint64_t sum = std::accumulate(row.counts.begin(), row.counts.end(), std::uint64_t{0});
  bool& busy = layer_busy_[row.key.layer];
  busy = busy || sum > 0;
  if (sum == 0) return;
  smallest_sum_ = std::min(smallest_sum_, sum);
  largest_sum_ = std::max(largest_sum_, sum);
  if (info_.top_k == 0 || info_.tokens_per_rank_per_microbatch == 0 || row.key.source_rank == kSummedOverRanks) return;
  const auto tokens = static_cast<std::uint64_t>(info_.tokens_per_rank_per_microbatch);
  const std::uint64_t expected = tokens * static_cast<std::uint64_t>(info_.top_k);
  if (sum < expected)
    findings_.count(Severity::kDataLoss, "row-sum-low", [&] {
      return std::pair(fmt::format("row sums to {}, less than {} tokens x top-{} = {}: tokens were dropped or not "
                                   "recorded",
                                   sum, tokens, info_.top_k, expected),
                       row.place.text());
    });
  if (sum > expected)
    findings_.count(Severity::kError, "row-sum-high", [&] {
      return std::pair(fmt::format("row sums to {}, more than {} tokens x top-{} = {}: the counts or the side file are "
                                   "wrong",
                                   sum, tokens, info_.top_k, expected),
                       row.place.text());
    });
  if (*std::max_element(row.counts.begin(), row.counts.end()) > tokens)
    findings_.count(Severity::kNotice, "expert-above-tokens", [&] {
      return std::pair(fmt::format("an expert is counted more often than there are tokens ({}): a gate that can choose "
                                   "one expert twice for a token, or wrong tokens in the side file",
                                   tokens),
                       row.place.text());
    });
}

void TraceInspector::check_repetition(const CountRow& row) {
  if (std::equal(previous_.begin(), previous_.end(), row.counts.begin(), row.counts.end())) {
    if (++identical_ == kWarmUpRows + 1)
      findings_.count(Severity::kNotice, "identical-rows", [&] {
        return std::pair(fmt::format("more than {} consecutive rows are identical: warm-up or profiling runs? cut them "
                                     "off if so",
                                     kWarmUpRows),
                         row.place.text());
      });
    return;
  }
  previous_.assign(row.counts.begin(), row.counts.end());
  identical_ = 1;
}

Status TraceInspector::finish(const std::string& name) {
  if (rows_ == 0) return invalid_input("no rows of counts", name, "is the file complete?");
  if (largest_sum_ == 0)
    return invalid_input("all counts are zero", name, "the recorder was started but saw no tokens: record again");
  std::string dense;
  std::uint64_t dense_layers = 0;
  for (const auto& [layer, busy] : layer_busy_) {
    if (busy) continue;
    if (++dense_layers <= 8) dense += fmt::format("{}{}", dense.empty() ? "" : ", ", layer);
  }
  if (dense_layers > 0)
    findings_.add(Severity::kInfo, "dense-layers",
                  fmt::format("layers with no selections at all are taken as dense and left out: {}{}", dense,
                              dense_layers > 8 ? ", ..." : ""),
                  name, dense_layers);
  if (smallest_sum_ != largest_sum_)
    findings_.add(Severity::kNotice, "row-sums-differ",
                  fmt::format("rows sum to {} up to {} selections: batches of different size, or dropped tokens",
                              smallest_sum_, largest_sum_),
                  name);
  return {};
}

}  // namespace moesim
