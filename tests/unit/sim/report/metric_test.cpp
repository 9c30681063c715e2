#include "sim/report/metric.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>

namespace moesim {
namespace {

TEST(DisplayText, HumanisesByUnit) {
  EXPECT_EQ(display_text(0.00231, MetricUnit::kSeconds), "2.31 ms");
  EXPECT_EQ(display_text(std::int64_t{3} << 29, MetricUnit::kBytes), "1.50 GiB");
  EXPECT_EQ(display_text(450e9, MetricUnit::kBytesPerSecond), "450 GB/s");
  EXPECT_EQ(display_text(989e12, MetricUnit::kFlopsPerSecond), "989 TFLOP/s");
  EXPECT_EQ(display_text(0.0, MetricUnit::kFlopsPerSecond), "0 FLOP/s");
  EXPECT_EQ(display_text(999.9e12, MetricUnit::kFlops), "1 PFLOP");
  EXPECT_EQ(display_text(0.4131, MetricUnit::kRatio), "41.3 %");
  EXPECT_EQ(display_text(-2.5e-10, MetricUnit::kRatio), "0.0 %");
  EXPECT_EQ(display_text(-0.0006, MetricUnit::kRatio), "-0.1 %");
  EXPECT_EQ(display_text(1.0832, MetricUnit::kFactor), "1.08x");
  EXPECT_EQ(display_text(12345.6, MetricUnit::kTokensPerSecond), "12346");
  EXPECT_EQ(display_text(12.34, MetricUnit::kTokensPerSecond), "12.3");
}

TEST(DisplayText, PlainValues) {
  EXPECT_EQ(display_text({}, MetricUnit::kSeconds), "-");
  EXPECT_EQ(display_text(true, MetricUnit::kNone), "yes");
  EXPECT_EQ(display_text(false, MetricUnit::kNone), "no");
  EXPECT_EQ(display_text(std::int64_t{46702792704}, MetricUnit::kNone), "46702792704");
  EXPECT_EQ(display_text(0.98765, MetricUnit::kNone), "0.9877");
  EXPECT_EQ(display_text(32.0, MetricUnit::kNone), "32");
  EXPECT_EQ(display_text(std::string("x"), MetricUnit::kNone), "x");
  EXPECT_EQ(display_text(std::numeric_limits<double>::infinity(), MetricUnit::kSeconds), "inf");
}

TEST(PlainText, GivesTheSameNumberBack) {
  EXPECT_EQ(plain_text(0.1), "0.1");
  EXPECT_EQ(std::stod(plain_text(1.0 / 3)), 1.0 / 3);
  EXPECT_EQ(plain_text({}), "");
  EXPECT_EQ(plain_text(true), "true");
}

TEST(MetricTable, RowOfWrongLengthIsOurFault) {
  MetricTable table({{"a", MetricUnit::kNone, "a", ""}});
  EXPECT_DEATH(table.add_row({std::int64_t{1}, std::int64_t{2}}), "values.size");
}

}  // namespace
}  // namespace moesim
