#include "exec/run/recorder.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "exec/run/training.hpp"

namespace moesim {
namespace {

constexpr std::size_t kHead = 5;  // numbers before the counts

}  // namespace

void ChoiceRecorder::take(std::int64_t step, const RankContext& rank) {
  for (const GateChoice& choice : rank.choices) {
    const auto experts = static_cast<std::int32_t>(choice.counts.size());
    numbers_.insert(numbers_.end(), {static_cast<std::int32_t>(step), choice.layer.value(), choice.micro_batch,
                                     rank.load_source, experts});
    numbers_.insert(numbers_.end(), choice.counts.begin(), choice.counts.end());
  }
}

Result<std::vector<ChoiceRow>> ChoiceRecorder::gather(Communicator& comm) const {
  MOESIM_ASSIGN(const auto by_rank, gather_numbers(comm, numbers_));
  std::vector<ChoiceRow> rows;
  for (const std::vector<std::int32_t>& numbers : by_rank)
    for (std::size_t at = 0; at < numbers.size();) {
      ChoiceRow& row = rows.emplace_back();
      row.key = {numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]};
      const auto first = numbers.begin() + static_cast<std::ptrdiff_t>(at + kHead);
      row.counts.assign(first, first + numbers[at + 4]);
      at += kHead + row.counts.size();
    }
  std::ranges::sort(rows, {}, &ChoiceRow::key);
  return rows;
}

std::vector<StepImbalance> imbalance_by_step(const std::vector<ChoiceRow>& rows) {
  std::map<std::int64_t, std::map<std::int32_t, std::vector<double>>> sums;  // by step, layer, expert
  for (const ChoiceRow& row : rows) {
    std::vector<double>& of_layer = sums[row.key.iteration][row.key.layer];
    of_layer.resize(std::max(of_layer.size(), row.counts.size()));
    for (std::size_t e = 0; e < row.counts.size(); ++e) of_layer[e] += row.counts[e];
  }
  std::vector<StepImbalance> result;
  for (const auto& [step, layers] : sums) {
    double sum = 0;
    for (const auto& [layer, counts] : layers) {
      const double mean = std::accumulate(counts.begin(), counts.end(), 0.0) / static_cast<double>(counts.size());
      sum += *std::ranges::max_element(counts) / mean;
    }
    result.push_back({step, sum / static_cast<double>(layers.size())});
  }
  return result;
}

}  // namespace moesim
