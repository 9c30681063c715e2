#include "calibration/fit.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "models/cluster/device.hpp"

namespace moesim {
namespace {

std::shared_ptr<const ClusterView> one_device() {
  return std::make_shared<const ClusterView>(std::vector{*find_device("A100")}, std::vector<std::int32_t>{0},
                                             std::vector<double>{1}, std::vector<std::int32_t>{0}, std::vector<Tier>{});
}

// Times that the memory law gives with known parameters.
std::vector<Measurement> made_up(const LawParameters& truth) {
  const auto view = one_device();
  const CostModel model(*view, {truth});
  std::vector<Measurement> rows;
  for (std::int64_t bytes = 1 << 16; bytes < (1LL << 32); bytes *= 2) {
    Measurement row;
    row.view = view;
    row.predict = [bytes](const CostModel& cost) {
      return cost.memory_bound(0, {.read = Bytes(bytes), .written = Bytes(0)}).time.value();
    };
    row.measured = row.predict(model);
    rows.push_back(row);
  }
  return rows;
}

TEST(Fit, RecoversTheParametersThatMadeTheData) {
  LawParameters truth = default_law_parameters(*find_device("A100"));
  truth.memory.efficiency = 0.62;
  truth.memory.overhead = Seconds(7e-6);
  const std::array<std::pair<std::string_view, std::string_view>, 2> names = {
      {{"memory", "efficiency"}, {"memory", "overhead_s"}}};
  const FitResult result = fit(default_law_parameters(*find_device("A100")), free_parameters(names), made_up(truth));
  EXPECT_NEAR(result.parameters.memory.efficiency, 0.62, 0.01);
  EXPECT_NEAR(result.parameters.memory.overhead.value(), 7e-6, 0.2e-6);
  EXPECT_LT(result.residuals.p90, 0.01);
  EXPECT_LT(result.held_out.p90, 0.02);
  EXPECT_EQ(result.residuals.points, 16);
  EXPECT_EQ(result.held_out.points, 8);
}

TEST(Fit, SkippedRowsDoNotCount) {
  std::vector<Measurement> rows = made_up(default_law_parameters(*find_device("A100")));
  rows[0].skipped = "unknown";
  rows[0].measured = 1e9;
  const Residuals found = residuals(default_law_parameters(*find_device("A100")), rows);
  EXPECT_EQ(found.points, 15);
  EXPECT_DOUBLE_EQ(found.p90, 0);
}

TEST(Fit, Quantiles) {
  EXPECT_DOUBLE_EQ(quantile({3, 1, 2}, 0.5), 2);
  EXPECT_DOUBLE_EQ(quantile({0, 10}, 0.9), 9);
  EXPECT_DOUBLE_EQ(quantile({}, 0.5), 0);
}

}  // namespace
}  // namespace moesim
