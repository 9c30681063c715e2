#include "sim/plan/expert_parts.hpp"

#include <gtest/gtest.h>

#include "sim/plan/owned_range.hpp"

namespace moesim {
namespace {

TEST(ExpertParts, WorkedExamples) {
  // 3 experts of 2 numbers on 2 replicas.
  const CutExperts cut{2, 3, 2};
  EXPECT_EQ(cut.part(), 3);
  EXPECT_EQ(part_runs(cut, 1, 0), (std::vector<PartRun>{{0, 0, 0, 1}, {1, 0, 1, 1}}));
  EXPECT_EQ(part_runs(cut, 0, 2), (std::vector<PartRun>{{0, 1, 0, 2}}));
  EXPECT_EQ(part_runs(cut, 1, 1), (std::vector<PartRun>{{0, 0, 0, 1}, {1, 1, 1, 1}}));
  // Whole: in one piece.
  EXPECT_EQ(part_runs({7, 3, 1}, 2, 0), (std::vector<PartRun>{{0, 0, 0, 7}}));
}

// Every number of an expert goes once, from the part that has it to the part that will, for sizes that divide and those that don't.
TEST(ExpertParts, CoverEachNumberOnce) {
  for (std::int64_t numbers = 1; numbers <= 7; ++numbers)
    for (std::int64_t places = 1; places <= 3; ++places)
      for (int parts = 1; parts <= 6; ++parts)
        for (std::int64_t before = 0; before < places; ++before)
          for (std::int64_t after = 0; after < places; ++after) {
            std::int64_t next = 0;
            for (const PartRun& run : part_runs({numbers, places, parts}, before, after)) {
              ASSERT_EQ(run.begin, next);
              ASSERT_GT(run.count, 0);
              const auto inside = [&](std::int64_t place, int part) {
                const ElementRange owned = owned_range(numbers * places, parts, part);
                const std::int64_t first = place * numbers + run.begin;
                return first >= owned.begin && first + run.count <= owned.begin + owned.count;
              };
              ASSERT_TRUE(inside(before, run.from)) << numbers << " " << places << " " << parts;
              ASSERT_TRUE(inside(after, run.to)) << numbers << " " << places << " " << parts;
              next += run.count;
            }
            ASSERT_EQ(next, numbers);
          }
}

}  // namespace
}  // namespace moesim
