// The timeline of a step: one process per entity, no two slices of a stream at once, memory up to the stage's peak.
#include "sim/simulate/timeline.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/file.hpp"
#include "tests/unit/sim/step/step_testing.hpp"

namespace moesim {
namespace {

SimulatedStep recorded_step(const TestCluster& cluster) {
  StepOptions options;
  options.replay.record_intervals = true;
  const Plan plan = plan_of({.pp = 2, .dp = 4, .ep = 4}, 4);
  return simulate_step(plan, small_moe(), cluster.costs(), nullptr, options).value();
}

nlohmann::json events_of(const SimulatedStep& step) {
  const std::string path = testing::TempDir() + "/moesim_timeline_test.json";
  EXPECT_TRUE(write_timeline(step, {path, {{"plan", "test"}}}).has_value());
  return nlohmann::json::parse(read_file(path, 1 << 28).value()).at("traceEvents");
}

TEST(Timeline, SlicesOfAStreamDoNotOverlap) {
  const TestCluster cluster(small_nodes(2, 4));
  const SimulatedStep step = recorded_step(cluster);
  std::map<std::pair<int, int>, std::vector<std::pair<double, double>>> tracks;
  for (const nlohmann::json& event : events_of(step))
    if (event.at("ph") == "X") tracks[{event.at("pid"), event.at("tid")}].emplace_back(event.at("ts"), event.at("dur"));
  ASSERT_GT(tracks.size(), 2U);
  for (auto& [track, slices] : tracks) {
    std::sort(slices.begin(), slices.end());
    for (std::size_t i = 1; i < slices.size(); ++i)
      EXPECT_LE(slices[i - 1].first + slices[i - 1].second, slices[i].first + 1e-6);
  }
}

TEST(Timeline, MemoryCounterReachesThePeakOfTheStage) {
  const TestCluster cluster(small_nodes(2, 4));
  const SimulatedStep step = recorded_step(cluster);
  std::map<int, double> highest;
  bool rows = false;
  for (const nlohmann::json& event : events_of(step)) {
    if (event.at("ph") != "C") continue;
    rows = rows || event.at("name") == "expert rows";
    if (event.at("name") != "memory") continue;
    double& most = highest[event.at("pid")];
    most = std::max(most, event.at("args").begin().value().get<double>());
  }
  EXPECT_TRUE(rows);
  ASSERT_EQ(highest.size(), step.priced.entities.size());
  double worst = 0;
  for (const auto& [entity, most] : highest) worst = std::max(worst, most);
  EXPECT_NEAR(worst, step.metrics.peak_memory.value() / (1 << 30), 1e-6);
}

TEST(Timeline, WritesTheSameBytesTwice) {
  const TestCluster cluster(small_nodes(2, 4));
  EXPECT_EQ(events_of(recorded_step(cluster)), events_of(recorded_step(cluster)));
}

}  // namespace
}  // namespace moesim
