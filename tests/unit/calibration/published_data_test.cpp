// The laws against published measurements that may stand beside the checkout; skipped where they do not.
#include <gtest/gtest.h>

#include <filesystem>

#include "calibration/validation_rows.hpp"

namespace moesim {
namespace {

struct Expectation {
  const char* file;
  const char* hardware;
  const char* law_prefix;
  const char* source;
  double median;  // regression limits, somewhat above what the shipped profiles give
  double p90;
};

class PublishedData : public ::testing::TestWithParam<Expectation> {};

TEST_P(PublishedData, ResidualsStayWhereTheyAre) {
  const Expectation& expected = GetParam();
  const std::string path = std::string(MOESIM_SHARED_DIR) + "/data/validation/" + expected.file;
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no published measurements at " << path;
  const auto rows = validate_measurements(path);
  ASSERT_TRUE(rows.has_value()) << rows.error().what;
  std::vector<ValidationRow> chosen;
  for (const ValidationRow& row : *rows)
    if (row.hardware.starts_with(expected.hardware) && row.law.starts_with(expected.law_prefix) &&
        row.source == expected.source && row.quality == "A")
      chosen.push_back(row);
  const ErrorSummary summary = summarize_errors(chosen);
  EXPECT_GT(summary.rows, 0);
  EXPECT_LT(summary.median, expected.median);
  EXPECT_LT(summary.p90, expected.p90);
}

INSTANTIATE_TEST_SUITE_P(
    Laws, PublishedData,
    ::testing::Values(Expectation{"gemm.csv", "A100-PCIe", "gemm", "simumax-a100pcie-ops", 0.03, 0.12},
                      Expectation{"gemm.csv", "A100-PCIe", "attention", "simumax-a100pcie-ops", 0.03, 0.12},
                      Expectation{"gemm.csv", "B200", "gemm", "simumax-b200-ops", 0.06, 0.25},
                      Expectation{"gemm.csv", "H800", "g", "deepgemm-Apr2025", 0.06, 0.25},
                      Expectation{"collectives.csv", "H100", "all_reduce", "dgxc-nccl", 0.10, 0.35},
                      Expectation{"collectives.csv", "H100", "", "wh8-h100", 0.08, 0.25},
                      Expectation{"collectives.csv", "A100-SXM4-80GB", "", "vtrain-allreduce-a100", 0.06, 0.16},
                      Expectation{"collectives.csv", "GH200", "", "cscs-alps", 0.15, 0.60},
                      Expectation{"collectives.csv", "A100-SXM4-40GB", "", "alcf-polaris", 0.20, 0.60},
                      Expectation{"collectives.csv", "RTX2080Ti", "", "rtx2080ti", 0.07, 0.18}));

}  // namespace
}  // namespace moesim
