#include "traces/token_counter.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace moesim {
namespace {

constexpr std::int32_t kLargestId = 65535;

}  // namespace

Status TokenCounter::check_ids(const TokenRow& row) {
  if (top_k_ == 0) {
    top_k_ = row.ids.size();
    if (info_.top_k == 0) info_.top_k = static_cast<std::int64_t>(top_k_);
  }
  if (row.ids.size() != top_k_)
    return invalid_input(fmt::format("token has {} expert ids, the first one has {}", row.ids.size(), top_k_),
                         row.place.text());
  bool repeated = false;
  for (std::size_t i = 0; i < row.ids.size(); ++i) {
    const std::int32_t id = row.ids[i];
    if (id < -1 || id > kLargestId || (experts_ > 0 && id >= static_cast<std::int32_t>(experts_)))
      return invalid_input(
          fmt::format("expert id {} is out of range (0 to {})", id, experts_ > 0 ? experts_ - 1 : kLargestId),
          row.place.text(), experts_ > 0 ? "give num_experts in the side file if the model has more experts" : "");
    if (id < 0) {
      findings_.count(Severity::kDataLoss, "dropped-choices", [&] {
        return std::pair(std::string("expert id -1: the choice was dropped or is padding; it is not counted"),
                         row.place.text());
      });
      continue;
    }
    repeated = repeated || std::find(row.ids.begin(), row.ids.begin() + static_cast<std::ptrdiff_t>(i), id) !=
                               row.ids.begin() + static_cast<std::ptrdiff_t>(i);
  }
  if (repeated)
    findings_.count(Severity::kNotice, "repeated-choice", [&] {
      return std::pair(std::string("a token chose the same expert twice; both choices are counted"), row.place.text());
    });
  return {};
}

Status TokenCounter::token(const TokenRow& row) {
  if (!groups_.empty() && row.key.iteration != iteration_) {
    MOESIM_TRY(emit());  // before the ids are checked: it fixes the number of experts
  }
  MOESIM_TRY(check_ids(row));
  if (forward_ != nullptr) {
    MOESIM_TRY(forward_->token(row));
  }
  iteration_ = row.key.iteration;
  if (last_group_ == nullptr || row.key != last_key_) {
    Group& group = groups_[row.key];
    if (group.line == 0 && group.file.empty()) {
      group.file = row.place.file;
      group.line = row.place.line;
      bytes_ += sizeof(Group) + sizeof(RowKey);
    }
    last_group_ = &group;
    last_key_ = row.key;
  }
  for (const std::int32_t id : row.ids) {
    if (id < 0) continue;
    const auto expert = static_cast<std::size_t>(id);
    if (expert >= last_group_->counts.size()) {
      bytes_ += (expert + 1 - last_group_->counts.size()) * sizeof(std::uint32_t);
      last_group_->counts.resize(expert + 1);
    }
    ++last_group_->counts[expert];
  }
  if (bytes_ > limit_bytes_)
    return invalid_input(
        fmt::format("iteration {} alone needs more than {} MiB of counts", iteration_, limit_bytes_ >> 20),
        row.place.text());
  return {};
}

Status TokenCounter::emit() {
  if (experts_ == 0) {
    std::size_t largest = 0;
    for (const auto& [key, group] : groups_) largest = std::max(largest, group.counts.size());
    experts_ = std::max(largest, static_cast<std::size_t>(info_.model_experts));
    if (info_.model_experts == 0)
      findings_.add(Severity::kNotice, "experts-guessed",
                    fmt::format("the number of experts is taken from the largest id: {}; give num_experts in the side "
                                "file if the model has more",
                                experts_));
    if (info_.model_experts > 0 && largest > static_cast<std::size_t>(info_.model_experts))
      return invalid_input(
          fmt::format("expert id {} is out of range: the side file says {} experts", largest - 1, info_.model_experts),
          groups_.begin()->second.file);
  }
  for (auto& [key, group] : groups_) {
    group.counts.resize(experts_);
    MOESIM_TRY(next_.counts({key, group.counts, {group.file, group.line}}));
  }
  groups_.clear();
  last_group_ = nullptr;
  bytes_ = 0;
  return {};
}

Status TokenCounter::finish() { return groups_.empty() ? Status{} : emit(); }

}  // namespace moesim
