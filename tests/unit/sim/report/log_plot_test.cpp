#include "sim/report/log_plot.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace moesim {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// x 1 .. 16 over 5 cells: a factor of 2 each; y 1 us .. 100 us over 3 rows: a factor of 10 each.
TEST(LogPlot, MarksStandAtTheirLogarithms) {
  const LogPlot plot{.title = "t",
                     .x_unit = MetricUnit::kNone,
                     .y_unit = MetricUnit::kSeconds,
                     .series = {{'.', {{1, 1e-6}, {2, 1e-5}, {4, 1e-5}}}, {'o', {{4, 1e-5}, {16, 1e-4}}}},
                     .width = 5,
                     .height = 3};
  EXPECT_THAT(plot_lines(plot), ElementsAre("t",                  //
                                            "100.00 us |     o",  //
                                            "          |  .o",    //
                                            "  1.00 us | .",      //
                                            "          +------",  //
                                            "            1  16"));
}

TEST(LogPlot, OnePointStandsInTheMiddleAndNothingGivesNothing) {
  LogPlot plot{.title = {}, .series = {{'o', {{1024, 1e-3}}}}, .width = 3, .height = 3};
  EXPECT_EQ(plot_lines(plot)[1].back(), 'o');
  plot.series = {{'o', {{0, 1}, {1, 0}, {-1, 2}}}};
  EXPECT_THAT(plot_lines(plot), IsEmpty());
}

}  // namespace
}  // namespace moesim
