// Placements that others have computed: SmartMoE's artifact on its own recording, and EPLB's published example.
#include <map>

#include "placement_testing.hpp"
#include "sim/placement/eplb.hpp"
#include "sim/placement/greedy_placement.hpp"

namespace moesim {
namespace {

using CountsByIteration = std::map<std::int64_t, std::vector<double>>;

// Rank 0, micro-batch 0, layer 6: what the artifact's decisions are made on.
CountsByIteration artifact_history(const std::string& path) {
  CountsByIteration history;
  for_each_row(path, [&](const CsvReader& reader) {
    if (whole_of(reader, "rank") != 0) return;
    std::vector<double>& counts = history[whole_of(reader, "iter")];
    for (int e = 0; e < 32; ++e) counts.push_back(real_of(reader, "e" + std::to_string(e)));
  });
  return history;
}

TEST(GreedyGolden, AllRecordedDecisionsOfTheArtifact) {
  const std::string golden = smartmoe_file("golden_fig13_placement.csv");
  const std::string counts = smartmoe_file("gate_counts_rank_mb0_layer6.csv");
  if (golden.empty() || counts.empty()) GTEST_SKIP() << "the SmartMoE artifact's recording is not beside the checkout";
  const CountsByIteration history = artifact_history(counts);
  const PlacementSizes sizes{8, 32, 4};
  std::map<std::int64_t, ExpertPlacement> placements;
  std::map<std::int64_t, int> changes;
  int decisions = 0;
  for_each_row(golden, [&](const CsvReader& reader) {
    const std::int64_t every = whole_of(reader, "update_every_iters");
    ExpertPlacement& current = placements.try_emplace(every, ExpertPlacement::contiguous(sizes)).first->second;
    const std::vector<double>& loads = history.at(whole_of(reader, "iter"));
    std::vector<std::int32_t> order;
    for (int i = 0; i < 32; ++i)
      order.push_back(static_cast<std::int32_t>(whole_of(reader, "order" + std::to_string(i))));
    const ExpertPlacement candidate =
        greedy_placement(loads, current, {.slots = GreedySlots::kAsDealt, .order = order});
    EXPECT_EQ(busiest_device_load(loads, current), real_of(reader, "max_load_before")) << reader.place();
    EXPECT_EQ(busiest_device_load(loads, candidate), real_of(reader, "max_load_candidate")) << reader.place();
    const bool changed = busiest_device_load(loads, current) > busiest_device_load(loads, candidate);
    if (changed) current = candidate;
    EXPECT_EQ(changed, whole_of(reader, "changed_recorded") != 0) << reader.place();
    for (int e = 0; e < 32; ++e)
      EXPECT_EQ(current.slots_of(e).front(), whole_of(reader, "slot_e" + std::to_string(e))) << reader.place();
    changes[every] += changed ? 1 : 0;
    ++decisions;
  });
  EXPECT_EQ(decisions, 330);
  EXPECT_EQ(changes.at(10), 83);
  EXPECT_EQ(changes.at(100), 11);
}

// With a stable sort and slots kept where experts stay: 2 % of hysteresis leave a tenth of the changes and the same balance, which is
// that of the hottest expert alone.
TEST(GreedyGolden, HysteresisSavesMoves) {
  const std::string counts = smartmoe_file("gate_counts_rank_mb0_layer6.csv");
  if (counts.empty()) GTEST_SKIP() << "the SmartMoE artifact's recording is not beside the checkout";
  const CountsByIteration history = artifact_history(counts);
  const auto play = [&](double hysteresis) {
    ExpertPlacement current = ExpertPlacement::contiguous({8, 32, 4});
    int changes = 0;
    double sum = 0;
    for (const auto& [iteration, loads] : history) {
      const ExpertPlacement candidate = greedy_placement(loads, current, {});
      if (busiest_device_load(loads, current) > hysteresis * busiest_device_load(loads, candidate))
        current = candidate, ++changes;
      sum += max_over_mean(device_loads(loads, current));
    }
    return std::pair(changes, sum / static_cast<double>(history.size()));
  };
  const auto [often, balance_often] = play(1.0);
  const auto [seldom, balance_seldom] = play(1.02);
  EXPECT_GT(often, 70);
  EXPECT_LE(seldom, 8);
  EXPECT_NEAR(balance_often, 2.78, 0.015);
  EXPECT_NEAR(balance_seldom, 2.78, 0.015);
}

std::vector<std::int32_t> slots_of(const ExpertPlacement& placement) {
  return {placement.expert_of_slot().begin(), placement.expert_of_slot().end()};
}

TEST(Eplb, PublishedExample) {
  const EplbSizes sizes{.placement = {8, 12, 2}, .groups = 4, .nodes = 2};
  const std::vector<double> first = {90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86};
  const std::vector<double> second = {20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27};
  EXPECT_EQ(slots_of(eplb_placement(first, sizes)),
            (std::vector<std::int32_t>{5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1}));
  EXPECT_EQ(slots_of(eplb_placement(second, sizes)),
            (std::vector<std::int32_t>{7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1}));
}

TEST(Eplb, GroupsThatNodesDoNotDivideArePackedGlobally) {
  const std::vector<double> loads = {9, 1, 2, 3, 4, 5};
  const PlacementSizes sizes{2, 6, 4};
  EXPECT_FALSE(divides_into_nodes({sizes, 3, 2}));
  EXPECT_EQ(eplb_placement(loads, {sizes, 3, 2}), eplb_placement(loads, {.placement = sizes}));
}

}  // namespace
}  // namespace moesim
