#include "sim/pipeline/activation_front.hpp"

#include <gtest/gtest.h>

#include <random>

#include "pipeline_testing.hpp"

namespace moesim {
namespace {

TEST(ActivationFront, EqualsTheWalkOverTheSlotsForAnySizes) {
  std::mt19937 random(7);
  for (const PipelineSchedule* schedule : pipeline_schedules())
    for (const PipelineShape shape :
         {PipelineShape{1, 4, 1}, {2, 8, 1}, {4, 8, 2}, {4, 16, 1}, {4, 16, 3}, {8, 32, 2}}) {
      if (!schedule->check(shape)) continue;
      const CompiledPipeline pipeline = compile_pipeline(*schedule, shape).value();
      const ActivationFront front(pipeline);
      for (int trial = 0; trial < 20; ++trial) {
        ActivationBytes bytes;
        for (int chunk = 0; chunk < pipeline.chunks; ++chunk) {
          bytes.forward.push_back(static_cast<std::int64_t>(random() % 1000));
          bytes.weight_part.push_back(static_cast<std::int64_t>(random() % 1500));
        }
        std::vector<std::int64_t> walked(static_cast<std::size_t>(shape.stages));
        std::vector<std::int64_t> found(walked.size(), -1);
        activation_peaks(pipeline, bytes, walked);
        front.peaks(bytes, std::vector<std::int64_t>(found.size()), found);
        EXPECT_EQ(found, walked) << schedule->name() << ' ' << shape.stages << ' ' << shape.micro_batches;
      }
    }
}

TEST(ActivationFront, OneVectorPerStageOf1F1B) {
  const CompiledPipeline pipeline = compile_pipeline(schedule_named("1f1b"), {4, 8, 1}).value();
  const ActivationFront front(pipeline);
  EXPECT_EQ(front.size(), 4U);
  std::vector<std::int64_t> peak(4);
  front.peaks({{10, 10, 10, 10}, {0, 0, 0, 0}}, std::vector<std::int64_t>{1, 2, 3, 4}, peak);
  EXPECT_EQ(peak, (std::vector<std::int64_t>{41, 32, 23, 14}));
}

}  // namespace
}  // namespace moesim
