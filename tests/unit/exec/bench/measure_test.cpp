#include "exec/bench/measure.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>

#include "exec/bench/cases.hpp"
#include "exec/comm/local_world.hpp"

namespace moesim {
namespace {

using testing::Each;
using testing::SizeIs;

MeasureOptions within(Seconds budget) {
  MeasureOptions options;
  options.budget = budget;
  return options;
}
MeasureOptions until(StopToken stop) {
  MeasureOptions options;
  options.stop = stop;
  return options;
}

// A world of one rank whose clock only the cases move.
class OneRank {
 public:
  Measured run(std::vector<PlannedCase> cases, const MeasureOptions& options) {
    const LocalWorld world{.hosts = {"here"}, .comm = {.clock = [this] { return now_; }}};
    Measured measured;
    run_local_ranks(world, [&](Communicator& comm) {
      BenchContext context{*backend_, {}, comm, [this] { return now_; }};
      measured = measure(context, cases, options);
    });
    return measured;
  }
  // Each run takes the next of these times, over and over.
  PlannedCase takes(std::string name, std::vector<double> seconds) {
    return {.name = std::move(name), .work = LaunchWork{}, .prepare = [this, seconds](BenchContext&) {
              auto turn = std::make_shared<std::size_t>(0);
              return Result<PreparedCase>(PreparedCase{.run = [this, seconds, turn]() -> Status {
                                                         now_ += Seconds(seconds[(*turn)++ % seconds.size()]);
                                                         ++runs_;
                                                         return {};
                                                       },
                                                       .finish = {}});
            }};
  }
  int runs_ = 0;

 private:
  std::unique_ptr<ComputeBackend> backend_ = make_cpu_backend();
  Seconds now_;
};

TEST(Measure, ASteadyCaseTakesItsFewestSamples) {
  OneRank rank;
  const Measured measured = rank.run({rank.takes("a", {0x1p-10})}, {});  // exact in FP32, in which ranks agree
  ASSERT_THAT(measured.cases, SizeIs(1));
  EXPECT_EQ(measured.cases[0].end, SamplesEnd::kSteady);
  EXPECT_EQ(measured.cases[0].operations, 1);
  EXPECT_THAT(measured.cases[0].seconds, SizeIs(9));
  EXPECT_THAT(measured.cases[0].seconds, Each(0x1p-10));
  EXPECT_EQ(rank.runs_, 2 + 9);  // two to warm up
  EXPECT_FALSE(measured.stopped);
}

TEST(Measure, ShortOperationsShareASample) {
  OneRank rank;
  const Measured measured = rank.run({rank.takes("a", {0x1p-15})}, {});  // 30.5 us: 7 make 200
  ASSERT_THAT(measured.cases, SizeIs(1));
  EXPECT_EQ(measured.cases[0].operations, 7);
  EXPECT_THAT(measured.cases[0].seconds, Each(testing::DoubleNear(0x1p-15, 1e-11)));
}

TEST(Measure, WhatSteadyCasesLeaveGoesToTheOthers) {
  OneRank rank;
  // 2 s for two cases. The first needs 11 * 1/128 = 0.086 s of its 1 s, so the second has 1.91 s for samples of 1/16 and 1/8.
  const Measured measured =
      rank.run({rank.takes("steady", {0x1p-7}), rank.takes("noisy", {0x1p-4, 0x1p-3})}, within(Seconds(2)));
  ASSERT_THAT(measured.cases, SizeIs(2));
  EXPECT_EQ(measured.cases[1].end, SamplesEnd::kBudget);
  // Warm-up 3/16, then pairs of 3/16: 1.91 s are over with the 19th sample, 0.1875 + 9 * 0.1875 + 0.0625 = 1.9375.
  EXPECT_THAT(measured.cases[1].seconds, SizeIs(19));
}

TEST(Measure, AnErrorKeepsWhatWasFinished) {
  OneRank rank;
  PlannedCase bad{.name = "bad", .work = LaunchWork{}, .prepare = [](BenchContext&) -> Result<PreparedCase> {
                    return fail(ErrorKind::kInternal, "no memory");
                  }};
  const Measured measured = rank.run({rank.takes("a", {0.001}), bad, rank.takes("b", {0.001})}, {});
  EXPECT_THAT(measured.cases, SizeIs(1));
  ASSERT_TRUE(measured.error.has_value());
  EXPECT_EQ(measured.error->what, "no memory");
  EXPECT_EQ(measured.error->where, "bad");
}

TEST(Measure, AskedToStopItKeepsWhatWasFinished) {
  OneRank rank;
  std::atomic<bool> stop = false;
  PlannedCase last = rank.takes("b", {0.001});
  last.prepare = [&stop, prepare = last.prepare](BenchContext& context) {
    stop = true;
    return prepare(context);
  };
  const Measured measured =
      rank.run({rank.takes("a", {0.001}), last, rank.takes("c", {0.001})}, until(StopToken(stop)));
  ASSERT_THAT(measured.cases, SizeIs(1));  // b had one sample, fewer than count
  EXPECT_EQ(measured.cases[0].name, "a");
  EXPECT_TRUE(measured.stopped);
}

// Real kernels and real collectives: the first and the last case of every family, on three ranks that agree on each sample.
TEST(Measure, EveryFamilyRunsOnThreeRanks) {
  const Clock clock = [] {
    return Seconds(std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count());
  };
  const std::vector<std::string> hosts(3, "here");
  std::vector<PlannedCase> cases;
  for (const CaseFamily& family : case_families()) {
    const std::vector<PlannedCase> all = family.plan(BenchScale::kSmall, hosts);
    ASSERT_FALSE(all.empty()) << family.name;
    cases.push_back(all.front());
    cases.push_back(all.back());
  }
  const std::unique_ptr<ComputeBackend> backend = make_cpu_backend();
  MeasureOptions options;
  options.rules = {.fewest = 2, .most = 2, .shortest_sample = Seconds(1e-9)};
  const auto results = run_local_world<std::vector<BenchCase>>(
      {.hosts = hosts, .comm = {.clock = clock}}, [&](Communicator& comm) -> Result<std::vector<BenchCase>> {
        BenchContext context{*backend, {}, comm, clock};
        Measured measured = measure(context, cases, options);
        if (measured.error) return tl::unexpected(*measured.error);
        return measured.cases;
      });
  ASSERT_TRUE(results[0].has_value()) << results[0].error().where << ": " << results[0].error().what;
  ASSERT_TRUE(results[1].has_value()) << results[1].error().where << ": " << results[1].error().what;
  ASSERT_THAT(*results[0], SizeIs(cases.size()));
  for (std::size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ((*results[0])[i].name, cases[i].name);
    EXPECT_EQ((*results[0])[i].seconds, (*results[1])[i].seconds) << cases[i].name;
    EXPECT_THAT((*results[0])[i].seconds, SizeIs(2)) << cases[i].name;
  }
}

}  // namespace
}  // namespace moesim
