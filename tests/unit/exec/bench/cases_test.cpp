#include "exec/bench/cases.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "exec/bench/collective_runner.hpp"
#include "exec/comm/local_world.hpp"

namespace moesim {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> hosts_of(int hosts, int ranks) {
  std::vector<std::string> names;
  for (int rank = 0; rank < hosts * ranks; ++rank) names.push_back("host" + std::to_string(rank / ranks));
  return names;
}

std::vector<std::string> names_of(const std::vector<GroupSet>& sets) {
  std::vector<std::string> names;
  for (const GroupSet& set : sets) names.push_back(set.name);
  return names;
}

TEST(LayoutGroups, EveryWayToLieOnHostsOnce) {
  EXPECT_THAT(names_of(layout_groups(hosts_of(4, 2))),
              ElementsAre("2 ranks on 1 host", "2 ranks on 2 hosts", "4 ranks on 2 hosts", "4 ranks on 4 hosts",
                          "8 ranks on 4 hosts"));
  EXPECT_THAT(names_of(layout_groups(hosts_of(1, 4))), ElementsAre("2 ranks on 1 host", "4 ranks on 1 host"));
  EXPECT_THAT(layout_groups({"alone"}), IsEmpty());
}

TEST(LayoutGroups, EverySetHoldsEveryRankOnce) {
  for (const GroupSet& set : layout_groups(hosts_of(4, 3))) {
    std::set<int> ranks;
    for (const auto& group : set.groups)
      for (const RankId rank : group) EXPECT_TRUE(ranks.insert(rank.value()).second) << set.name;
    EXPECT_EQ(ranks.size(), 12U) << set.name;
  }
}

TEST(LayoutGroups, OneRankPerHost) {
  const std::vector<GroupSet> sets = layout_groups(hosts_of(2, 2));
  ASSERT_EQ(sets[1].name, "2 ranks on 2 hosts");
  EXPECT_THAT(sets[1].groups, ElementsAre(ElementsAre(RankId(0), RankId(2)), ElementsAre(RankId(1), RankId(3))));
}

// Two ranks here and one there: a set of groups whose members lie differently has no one time.
TEST(LayoutGroups, UnevenHostsLeaveTheWholeWorld) {
  EXPECT_THAT(names_of(layout_groups({"a", "a", "b"})), ElementsAre("3 ranks on 2 hosts"));
}

TEST(EvenSize, WholeNumbersForEveryRank) {
  EXPECT_EQ(even_size(Bytes(1000), 3), Bytes(996));  // 12 * 83
  EXPECT_EQ(even_size(Bytes(1), 8), Bytes(32));
}

TEST(PlanCases, NamesAreUniqueAndTheListIsTheSameEveryTime) {
  for (const BenchScale scale : {BenchScale::kSmall, BenchScale::kLarge}) {
    const std::vector<PlannedCase> cases = plan_cases({}, scale, hosts_of(4, 2)).value();
    const std::vector<PlannedCase> again = plan_cases({}, scale, hosts_of(4, 2)).value();
    ASSERT_EQ(cases.size(), again.size());
    std::set<std::string> names;
    for (std::size_t i = 0; i < cases.size(); ++i) {
      EXPECT_TRUE(names.insert(cases[i].name).second) << cases[i].name;
      EXPECT_EQ(cases[i].name, again[i].name);
    }
  }
}

TEST(PlanCases, OnlyWhatIsAskedFor) {
  const std::vector<PlannedCase> cases = plan_cases({"launch"}, BenchScale::kSmall, {"here"}).value();
  ASSERT_EQ(cases.size(), 1U);
  EXPECT_TRUE(std::holds_alternative<LaunchWork>(cases[0].work));
  EXPECT_THAT(plan_cases({"overlap", "collectives"}, BenchScale::kSmall, {"alone"}).value(), IsEmpty());
}

// On 4 hosts of 2: 4 ranks on 2 hosts, 4 on 4 and 8 on 4, by all algorithms but linear, eight sizes each.
TEST(PlanCases, ExchangesByEveryOtherAlgorithm) {
  const std::vector<PlannedCase> cases = plan_cases({"exchanges"}, BenchScale::kSmall, hosts_of(4, 2)).value();
  EXPECT_EQ(cases.size(), 3U * 4U * 8U);
  for (const PlannedCase& one : cases) {
    const auto& work = std::get<CollectiveWork>(one.work);
    EXPECT_EQ(work.kind, CollectiveKind::kAllToAll);
    EXPECT_NE(work.exchange, ExchangeAlgorithm::kLinear);
  }
}

// Those that hand on know what everybody sends.
TEST(PlanCases, ExchangesRun) {
  const std::vector<std::string> hosts = hosts_of(2, 2);
  run_local_ranks({.hosts = hosts, .comm = {.clock = [] { return Seconds(0); }}}, [&](Communicator& comm) {
    const auto backend = make_cpu_backend();
    BenchContext context{*backend, {}, comm, [] { return Seconds(0); }};
    const std::vector<PlannedCase> cases = plan_cases({"exchanges"}, BenchScale::kSmall, hosts).value();
    for (const PlannedCase& one : cases) {
      if (std::get<CollectiveWork>(one.work).size > Bytes(5000)) continue;
      const Result<PreparedCase> prepared = one.prepare(context);
      ASSERT_TRUE(prepared.has_value()) << one.name << ": " << prepared.error().what;
      const Status ran = prepared->run();
      EXPECT_TRUE(ran.has_value()) << one.name << ": " << ran.error().what;
    }
  });
}

// What is measured must at least run; the smallest sizes of everything that needs one rank.
TEST(PlanCases, EveryKernelRuns) {
  run_local_ranks({.hosts = {"here"}, .comm = {.clock = [] { return Seconds(0); }}}, [](Communicator& comm) {
    const auto backend = make_cpu_backend();
    BenchContext context{*backend, {}, comm, [] { return Seconds(0); }};
    const auto cases = plan_cases({"attention", "memory", "launch", "operation"}, BenchScale::kSmall, {"here"}).value();
    std::set<MemoryKernel> kernels;
    for (const PlannedCase& one : cases) {
      const auto* memory = std::get_if<MemoryWork>(&one.work);
      const auto* attention = std::get_if<AttentionWork>(&one.work);
      if (memory != nullptr) kernels.insert(memory->kernel);
      if (memory != nullptr && memory->read + memory->written > Bytes(100'000)) continue;
      if (attention != nullptr && attention->query_length > 64) continue;
      const Result<PreparedCase> prepared = one.prepare(context);
      ASSERT_TRUE(prepared.has_value()) << one.name << ": " << prepared.error().what;
      const Status ran = prepared->run();
      EXPECT_TRUE(ran.has_value()) << one.name << ": " << ran.error().what;
    }
    EXPECT_EQ(kernels.size(), static_cast<std::size_t>(kMemoryKernels - 1));  // all but kOther
  });
}

// By a clock that is a millisecond later whenever it is asked, 100 GEMMs take 1 ms and so does a collective: 200 GEMMs are as long as
// two collectives, so one of these could hide behind them.
TEST(PlanCases, OverlapIsOfTwiceAsMuchComputationAsCommunication) {
  run_local_ranks({.hosts = {"here", "here"}, .comm = {.clock = [] { return Seconds(0); }}}, [](Communicator& comm) {
    const auto backend = make_cpu_backend();
    double milliseconds = 0;
    BenchContext context{*backend, {}, comm, [&] { return Seconds(1e-3 * ++milliseconds); }};
    int settled = 0;
    const auto cases = plan_cases({"overlap"}, BenchScale::kSmall, {"here", "here"}).value();
    for (const PlannedCase& one : cases) {
      const auto& planned = std::get<OverlapWork>(one.work);
      const Result<PreparedCase> prepared = one.prepare(context);
      ASSERT_TRUE(prepared.has_value()) << one.name << ": " << prepared.error().what;
      EXPECT_TRUE(prepared->run().has_value()) << one.name;
      const bool both =
          planned.measured == OverlapMeasured::kCompute && planned.compute && !planned.collectives.empty();
      EXPECT_EQ(prepared->work.has_value(), both) << one.name;
      if (!prepared->work) continue;
      ++settled;
      EXPECT_EQ(std::get<OverlapWork>(*prepared->work).compute_repeats, 200);
      EXPECT_EQ(std::get<OverlapWork>(*prepared->work).collective_rounds, 1);
    }
    EXPECT_EQ(settled, 2);
  });
}

TEST(PlanCases, AnUnknownNameIsTheUsersMistake) {
  const Result<std::vector<PlannedCase>> cases = plan_cases({"gem"}, BenchScale::kSmall, {"here"});
  ASSERT_FALSE(cases.has_value());
  EXPECT_EQ(cases.error().kind, ErrorKind::kUsage);
  EXPECT_THAT(cases.error().what, testing::HasSubstr("did you mean 'gemm'"));
}

TEST(PlanCases, GroupsMayBeEmpty) {
  bool some = false;
  for (const PlannedCase& one : grouped_cases(BenchScale::kSmall, {}))
    some = some || std::get<GroupedRows>(one.work).rows[1] == 0;
  EXPECT_TRUE(some);
}

}  // namespace
}  // namespace moesim
