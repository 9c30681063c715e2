// How even EPLB's copies and FasterMoE's shadows make the SmartMoE recording (501 iterations, 24 layers, 32 experts, 16 ranks), as
// worked out from it by others. The first iteration, when the gate is still random, is left out.
#include <algorithm>
#include <array>

#include "placement_testing.hpp"
#include "sim/placement/eplb.hpp"
#include "sim/placement/greedy_placement.hpp"
#include "traces/import.hpp"

namespace moesim {
namespace {

const SelectionTrace& smartmoe_trace(const std::string& path) {
  static const SelectionTrace kTrace = [&] {
    Result<LoadedTrace> loaded = load_trace(path);
    if (loaded) return std::move(loaded->trace);
    ADD_FAILURE() << loaded.error().what;
    return SelectionTrace();
  }();
  return kTrace;
}

// [layer][step][expert], over ranks and micro-batches.
using Totals = std::vector<std::vector<std::vector<double>>>;
Totals all_totals(const SelectionTrace& trace) {
  Totals totals(24, std::vector<std::vector<double>>(501, std::vector<double>(32, 0.0)));
  for (int layer = 0; layer < 24; ++layer)
    for (int step = 0; step < 501; ++step) {
      double* const sums = totals[static_cast<std::size_t>(layer)][static_cast<std::size_t>(step)].data();
      for (int micro_batch = 0; micro_batch < 4; ++micro_batch)
        for (int rank = 0; rank < 16; ++rank) {
          const std::uint32_t* const row = trace.counts(step, layer, micro_batch, rank).data();
          for (int e = 0; e < 32; ++e) sums[e] += row[e];
        }
    }
  return totals;
}

TEST(RecordedPlacement, EplbTable) {
  const std::string path = smartmoe_file("smartmoe_trace.tar.zst");
  if (path.empty()) GTEST_SKIP() << "the SmartMoE artifact's recording is not beside the checkout";
  const Totals totals = all_totals(smartmoe_trace(path));
  struct Cell {
    int spare;
    int devices;
    double fresh;
    double stale;
  };
  const std::vector<Cell> table = {{0, 4, 1.51, 1.52},  {0, 8, 2.91, 2.91},  {0, 16, 5.81, 5.81}, {1, 4, 1.02, 1.05},
                                   {1, 8, 1.09, 1.13},  {1, 16, 1.23, 1.28}, {2, 4, 1.02, 1.04},  {2, 8, 1.06, 1.09},
                                   {2, 16, 1.12, 1.17}, {4, 4, 1.01, 1.03},  {4, 8, 1.03, 1.07},  {4, 16, 1.06, 1.11}};
  for (const Cell& cell : table) {
    const PlacementSizes sizes{cell.devices, 32, 32 / cell.devices + cell.spare};
    double fresh = 0;
    double stale = 0;
    for (const auto& steps : totals)
      for (std::size_t step = 1; step < 501; ++step) {
        const std::vector<double>& loads = steps[step];
        const ExpertPlacement placement = eplb_placement(loads, {.placement = sizes});
        fresh += max_over_mean(device_loads(loads, placement));
        if (step < 500) stale += max_over_mean(device_loads(steps[step + 1], placement));
      }
    EXPECT_NEAR(fresh / (500 * 24), cell.fresh, 0.0075) << cell.spare << " spare, " << cell.devices << " devices";
    // Over which records the published column of old statistics was averaged is not known.
    EXPECT_NEAR(stale / (499 * 24), cell.stale, 0.025) << cell.spare << " spare, " << cell.devices << " devices";
  }
}

TEST(RecordedPlacement, ContiguousAndShadowTable) {
  const std::string path = smartmoe_file("smartmoe_trace.tar.zst");
  if (path.empty()) GTEST_SKIP() << "the SmartMoE artifact's recording is not beside the checkout";
  const SelectionTrace& trace = smartmoe_trace(path);
  constexpr std::array<int, 5> kShadows = {0, 1, 2, 4, 8};
  const std::vector<std::pair<int, std::array<double, 5>>> table = {{8, {3.43, 2.21, 1.70, 1.41, 1.13}},
                                                                    {16, {6.16, 3.66, 2.49, 1.85, 1.28}}};
  for (const auto& [devices, expected] : table) {
    TokenRouter router(std::vector<std::int32_t>(static_cast<std::size_t>(devices), 0));
    std::array<double, 5> sum{};
    for (int step = 1; step < 501; ++step)
      for (int layer = 0; layer < 24; ++layer) {
        OwnedCounts counts{std::vector<std::int32_t>(static_cast<std::size_t>(devices) * 32, 0), devices, 32};
        for (int micro_batch = 0; micro_batch < 4; ++micro_batch)
          for (int rank = 0; rank < 16; ++rank) {
            const auto row = trace.counts(step, layer, micro_batch, rank);
            for (std::size_t e = 0; e < 32; ++e)
              counts.counts[static_cast<std::size_t>(rank * devices / 16) * 32 + e] +=
                  static_cast<std::int32_t>(row[e]);
          }
        const std::vector<std::int32_t> order = by_falling_load(expert_totals(counts.view()));
        for (std::size_t i = 0; i < kShadows.size(); ++i) {
          PlacementDecision decision{ExpertPlacement::contiguous({devices, 32, 32 / devices}),
                                     {order.begin(), order.begin() + kShadows[i]},
                                     TokenSplit::kLocality};
          std::sort(decision.shadowed.begin(), decision.shadowed.end());
          sum[i] += max_over_mean(device_rows(router.route(counts.view(), decision)));
        }
      }
    for (std::size_t i = 0; i < kShadows.size(); ++i)
      EXPECT_NEAR(sum[i] / (500 * 24), expected[i], 0.015) << kShadows[i] << " shadows, " << devices << " devices";
  }
}

}  // namespace
}  // namespace moesim
