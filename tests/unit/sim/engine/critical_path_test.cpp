#include "sim/engine/critical_path.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "program_builder.hpp"

namespace moesim {
namespace {

using test::ProgramBuilder;

TEST(CriticalPath, IsTheChainOfCauses) {
  ProgramBuilder b(1);
  b.program.entities[0].groups = {-1};
  const auto short_one = b.compute(0, {.duration = 10});
  const auto long_one = b.collective(0, 0, {.stream = Stream::kTp, .duration = 14});
  b.compute(0, {.duration = 5, .deps = {short_one, long_one}});
  const ReplayResult result = replay(b.program, {.record_intervals = true});
  std::vector<std::uint32_t> ops;
  for (const std::uint32_t i : critical_path(result)) ops.push_back(result.intervals[i].op);
  EXPECT_THAT(ops, ::testing::ElementsAre(1, 2));
}

// Entity 1 computes longest before the collective, entity 0 after it: 30, 5, 40.
TEST(CriticalPath, CrossesEntitiesThroughCollectivesAndLeavesNoGap) {
  ProgramBuilder b(2);
  b.group({0, 1});
  for (const std::uint32_t e : {0U, 1U}) {
    const auto a = b.compute(e, {.duration = e == 0 ? 10 : 30});
    const auto c = b.collective(e, 0, {.stream = Stream::kEp, .duration = 5, .deps = {a}});
    b.compute(e, {.duration = e == 0 ? 40 : 20, .deps = {c}});
  }
  const ReplayResult result = replay(b.program, {.record_intervals = true});
  const std::vector<std::uint32_t> path = critical_path(result);
  ASSERT_EQ(path.size(), 3U);
  EXPECT_EQ(result.intervals[path[0]].entity, 1U);
  EXPECT_EQ(result.intervals[path[2]].entity, 0U);
  Picoseconds end = 0;
  for (const std::uint32_t i : path) {
    EXPECT_EQ(result.intervals[i].start, end);
    end = result.intervals[i].end;
  }
  EXPECT_EQ(end, result.end);
}

TEST(CriticalPath, IsEmptyWithoutIntervals) {
  ProgramBuilder b(1);
  b.compute(0, {.duration = 10});
  EXPECT_TRUE(critical_path(replay(b.program, {})).empty());
}

}  // namespace
}  // namespace moesim
