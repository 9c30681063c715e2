#include "sim/search/space.hpp"

#include <algorithm>
#include <numeric>

#include "sim/lower/moe_schedule.hpp"
#include "sim/pipeline/schedules.hpp"

namespace moesim {
namespace {

constexpr int kLargestTensorParallel = 8;
constexpr int kLargestExpertShards = 8;
constexpr int kLargestSearchedMicroBatch = 8;
constexpr int kMostChunks = 8;
constexpr std::int64_t kLeastTokensPerContextRank = 4096;
// Above so many ranks each further schedule prices exchanges between hundreds of ranks anew, for every layer of a trace. The second
// one is what differs most from the plan's default there: it sends less between nodes.
constexpr int kMostRanksOfAllSchedules = 128;
constexpr std::string_view kSecondSchedule = "deepep";

std::vector<int> powers_of_two(std::int64_t largest) {
  std::vector<int> values;
  for (std::int64_t value = 1; value <= largest; value *= 2) values.push_back(static_cast<int>(value));
  return values;
}

}  // namespace

SearchSpace default_space(const ModelShape& model, const ClusterView& view, std::int64_t seq_length, int global_batch) {
  SearchSpace space;
  space.seq_length = seq_length;
  space.global_batch = global_batch;
  const int world = view.ranks();
  const int domain = view.domain_size(RankId(0));
  const MoeShape* moe = model.first_moe();
  const auto fitting = [world](std::vector<int> values) {
    std::erase_if(values, [world](int value) { return world % value != 0; });
    return values;
  };
  space.tp = fitting(powers_of_two(std::min({kLargestTensorParallel, domain, world})));
  space.cp = fitting(powers_of_two(std::clamp<std::int64_t>(seq_length / kLeastTokensPerContextRank, 1, world)));
  for (int pp = 1; pp <= std::min(world, model.layer_count()); ++pp) {
    const bool power = (pp & (pp - 1)) == 0;
    if (world % pp == 0 && (power || model.layer_count() % pp == 0)) space.pp.push_back(pp);
  }
  for (const int vpp : powers_of_two(kMostChunks))
    if (vpp > 1) space.vpp.push_back(vpp);
  for (int ep = 1; ep <= std::min<std::int64_t>(world, moe == nullptr ? 1 : moe->experts); ++ep)
    if (world % ep == 0 && (moe == nullptr || moe->experts % ep == 0)) space.ep.push_back(ep);
  space.esp =
      moe == nullptr ? std::vector<int>{1} : fitting(powers_of_two(std::min({kLargestExpertShards, domain, world})));
  space.micro_batch = powers_of_two(std::min(kLargestSearchedMicroBatch, global_batch));
  space.recompute = {Recompute::kNone, Recompute::kSelective, Recompute::kFull};
  space.zero_dense = {ZeroStage::kNone, ZeroStage::kOptimizer, ZeroStage::kGradients, ZeroStage::kParameters};
  space.zero_expert = moe == nullptr ? std::vector<ZeroStage>{ZeroStage::kNone} : space.zero_dense;
  for (const PipelineSchedule* schedule : pipeline_schedules()) space.pipeline.emplace_back(schedule->name());
  space.moe_schedule = {Plan{}.moe_schedule};
  space.all_to_all = {Plan{}.all_to_all};
  if (moe == nullptr) return space;
  for (const MoeSchedule* schedule : moe_schedules()) {
    if (schedule->name() == space.moe_schedule.front()) continue;
    if (world <= kMostRanksOfAllSchedules || schedule->name() == kSecondSchedule)
      space.moe_schedule.emplace_back(schedule->name());
  }
  return space;
}

}  // namespace moesim
