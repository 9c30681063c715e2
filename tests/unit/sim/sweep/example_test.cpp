// What docs/sweep.md says about examples/sweep-mixtral.json.
#include <gtest/gtest.h>

#include "sweep_testing.hpp"

namespace moesim {
namespace {

TEST(SweepExample, RunsAsDocumented) {
  const auto spec = SweepSpec::read_file(MOESIM_SOURCE_DIR "/examples/sweep-mixtral.json");
  ASSERT_TRUE(spec.has_value()) << spec.error().where << ": " << spec.error().what;
  EXPECT_EQ(spec->points(), 36);  // 3 tp x 3 ep x 2 micro_batch x 2 recompute
  const TemporaryFolder folder;
  const auto summary = run_alone(*spec, options_to(folder.file("mixtral.csv")));
  ASSERT_TRUE(summary.has_value()) << summary.error().what;
  EXPECT_EQ(summary->ok, 36);
  EXPECT_GT(summary->fits, 0);
  EXPECT_LT(summary->fits, 36);
  EXPECT_TRUE(summary->best.has_value());
}

}  // namespace
}  // namespace moesim
