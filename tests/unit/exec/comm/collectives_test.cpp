#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>

#include "collective_matrix.hpp"
#include "local_ranks.hpp"

namespace moesim {
namespace {

using testing::HasSubstr;

class CollectivesTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, CollectivesTest, testing::Range(1, 9), testing::PrintToStringParamName());

void expect_all_well(const LocalWorld& world, const std::function<Status(Communicator&)>& check) {
  const auto results = run_local_world<int>(world, [&](Communicator& comm) -> Result<int> {
    MOESIM_TRY(check(comm));
    return 1;
  });
  for (const auto& result : results) EXPECT_TRUE(result.has_value()) << result.error().what;
}

TEST_P(CollectivesTest, GiveWhatEachRankWorksOutAlone) { expect_all_well(local_world(GetParam()), check_collectives); }

// Ranks on nodes of one, two, three and as many as there are; dealt in turn as well, so that a node's ranks are not neighbours.
TEST_P(CollectivesTest, EveryAlgorithmOfAnExchangeOnEveryKindOfNodes) {
  for (const ExchangeAlgorithm algorithm : exchange_algorithms())
    for (const int on_node : {1, 2, 3, 8})
      for (const bool dealt : {false, true}) {
        SCOPED_TRACE(std::string(exchange_algorithm_name(algorithm)) + " " + std::to_string(on_node));
        LocalWorld world = local_world(GetParam());
        const int nodes = (GetParam() + on_node - 1) / on_node;
        for (int rank = 0; rank < GetParam(); ++rank)
          world.hosts[static_cast<std::size_t>(rank)] = std::to_string(dealt ? rank % nodes : rank / on_node);
        expect_all_well(world, [algorithm](Communicator& comm) { return check_exchanges(comm, algorithm); });
      }
}

TEST_P(CollectivesTest, RingsForAllSizes) {
  LocalWorld world = local_world(GetParam());
  world.comm.small_all_reduce = Bytes(-1);
  expect_all_well(world, check_collectives);
}

TEST_P(CollectivesTest, RecursiveDoublingForAllSizes) {
  LocalWorld world = local_world(GetParam());
  world.comm.small_all_reduce = Bytes(1 << 30);
  expect_all_well(world, check_collectives);
}

TEST_P(CollectivesTest, MessagesMatchInOrder) { expect_all_well(local_world(GetParam()), check_messages); }

// Numbers whose sum depends on the order of addition.
std::vector<float> awkward(RankId rank) {
  std::vector<float> values(1001);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] =
        std::sin(static_cast<float>(i * 7 + rank.index() * 13 + 1)) * std::exp2(static_cast<float>(i % 23) - 11);
  return values;
}

std::vector<Result<std::vector<float>>> sum_awkward(int ranks, Bytes small_all_reduce) {
  LocalWorld world = local_world(ranks);
  world.comm.small_all_reduce = small_all_reduce;
  return run_local_world<std::vector<float>>(world, [](Communicator& comm) -> Result<std::vector<float>> {
    MOESIM_ASSIGN(const CommGroup group, comm.group(all_ranks(comm)));
    std::vector<float> values = awkward(comm.rank());
    MOESIM_TRY(comm.all_reduce(group, Channel(0), {DType::kFp32, ReduceKind::kSum}, bytes_of(values)).wait());
    return values;
  });
}

TEST_P(CollectivesTest, SumsAreTheSameBitsOnEveryMemberAndEveryRun) {
  for (const Bytes small : {Bytes(0), Bytes(1 << 20)}) {
    const auto first = sum_awkward(GetParam(), small);
    const auto second = sum_awkward(GetParam(), small);
    for (std::size_t rank = 0; rank < first.size(); ++rank) {
      ASSERT_TRUE(first[rank].has_value()) << first[rank].error().what;
      EXPECT_EQ(*first[rank], *first[0]) << rank;
      EXPECT_EQ(*first[rank], *second[rank]) << rank;
    }
    std::vector<std::vector<float>> inputs;
    for (int rank = 0; rank < GetParam(); ++rank) inputs.push_back(awkward(RankId(rank)));
    for (std::size_t i = 0; i < first[0]->size(); ++i) {
      double sum = 0, size = 0;
      for (const std::vector<float>& input : inputs) sum += input[i], size += std::abs(input[i]);
      EXPECT_NEAR((*first[0])[i], sum, size * 8 * 0x1p-24) << i;
    }
  }
}

TEST(Communicator, GathersInPlace) {
  const auto results =
      run_local_world<std::vector<float>>(local_world(3), [](Communicator& comm) -> Result<std::vector<float>> {
        MOESIM_ASSIGN(const CommGroup group, comm.group({RankId(2), RankId(0), RankId(1)}));
        std::vector<float> all(3, -1);
        const auto own = static_cast<std::size_t>(group.position());
        all[own] = static_cast<float>(10 + comm.rank().value());
        MOESIM_TRY(comm.all_gather(group, Channel(0), bytes_of(all).subspan(4 * own, 4), bytes_of(all)).wait());
        return all;
      });
  for (const auto& result : results) EXPECT_EQ(*result, (std::vector<float>{12, 10, 11}));
}

// A group's collectives on one channel queue up behind one that waits for rank 1; another channel and a message do not.
TEST(Communicator, ChannelsDoNotWaitForEachOther) {
  const auto results = run_local_world<bool>(local_world(2), [](Communicator& comm) -> Result<bool> {
    MOESIM_ASSIGN(const CommGroup group, comm.group(all_ranks(comm)));
    std::vector<float> word{1};
    if (comm.rank() == RankId(1)) {
      MOESIM_TRY(comm.barrier(group, Channel(1)).wait());
      MOESIM_TRY(comm.send(RankId(0), Channel(0), bytes_of(word)).wait());
      MOESIM_TRY(comm.receive(RankId(0), Channel(0), bytes_of(word)).wait());
      MOESIM_TRY(comm.barrier(group, Channel(0)).wait());
      return true;
    }
    Request first = comm.barrier(group, Channel(0));
    MOESIM_TRY(comm.barrier(group, Channel(1)).wait());
    MOESIM_TRY(comm.receive(RankId(1), Channel(0), bytes_of(word)).wait());
    MOESIM_ASSIGN(const bool too_early, first.test());
    MOESIM_TRY(comm.send(RankId(1), Channel(0), bytes_of(word)).wait());
    MOESIM_TRY(first.wait());
    return !too_early;
  });
  for (const auto& result : results) {
    ASSERT_TRUE(result.has_value()) << result.error().what;
    EXPECT_TRUE(*result);
  }
}

TEST(Communicator, KnowsItsHosts) {
  LocalWorld world = local_world(3);
  world.hosts = {"a", "a", "b"};
  run_local_ranks(world, [](Communicator& comm) {
    EXPECT_EQ(comm.size(), 3);
    EXPECT_EQ(comm.host_of(RankId(1)), "a");
    EXPECT_EQ(comm.host_of(RankId(2)), "b");
  });
}

// Each wrong call is refused with its own words and leaves the communicator whole.
TEST(Communicator, RefusesWrongArguments) {
  run_local_ranks(local_world(1), [](Communicator& comm) {
    const CommGroup group = comm.group({RankId(0)}).value();
    std::vector<float> data(3);
    const std::span<std::byte> bytes = bytes_of(data);
    const std::vector<std::int64_t> right{12}, wrong{8}, negative{-12}, many{6, 6};
    const auto refused = [](Request request) {
      const Status status = request.wait();
      return status ? std::string("accepted") : status.error().what;
    };
    const Channel channel(0);
    const Reduction sum{DType::kFp32, ReduceKind::kSum};
    EXPECT_THAT(refused(comm.all_to_all_v(group, channel, {bytes, wrong, bytes, right})), HasSubstr("make 8 bytes"));
    EXPECT_THAT(refused(comm.all_to_all_v(group, channel, {bytes, negative, bytes, right})), HasSubstr("below 0"));
    EXPECT_THAT(refused(comm.all_to_all_v(group, channel, {bytes, right, bytes, many})),
                HasSubstr("2 counts for the 1"));
    const ExchangeAlgorithm relayed = ExchangeAlgorithm::kTwoLevel;
    EXPECT_THAT(refused(comm.all_to_all_v(group, channel, {bytes, right, bytes, right, relayed})),
                HasSubstr("2dh: 0 counts of all members"));
    EXPECT_THAT(refused(comm.all_to_all_v(group, channel, {bytes, right, bytes, right, relayed, wrong})),
                HasSubstr("contradict"));
    EXPECT_THAT(refused(comm.all_gather(group, channel, bytes.first(4), bytes)), HasSubstr("make 4 bytes"));
    EXPECT_THAT(refused(comm.all_gather_v(group, channel, bytes.first(4), bytes, right)), HasSubstr("has 4 bytes"));
    EXPECT_THAT(refused(comm.reduce_scatter(group, channel, sum, bytes, bytes.first(4))), HasSubstr("make 4 bytes"));
    EXPECT_THAT(
        refused(comm.reduce_scatter_v(group, channel, sum, bytes, bytes.first(4), std::vector<std::int64_t>{3})),
        HasSubstr("its buffer 4"));
    EXPECT_THAT(refused(comm.all_reduce(group, channel, sum, bytes.first(5))), HasSubstr("no whole number of fp32"));
    EXPECT_THAT(refused(comm.all_reduce(group, channel, {DType::kFp8, ReduceKind::kSum}, bytes)), HasSubstr("fp8"));
    EXPECT_THAT(refused(comm.broadcast(group, channel, RankId(4), bytes)), HasSubstr("rank 4 is not in"));
    EXPECT_THAT(refused(comm.barrier(group, Channel(kChannels))), HasSubstr("no channel 16"));
    EXPECT_THAT(refused(comm.send(RankId(1), channel, bytes)), HasSubstr("rank 1 is none of the 1"));
    EXPECT_THAT(refused(comm.receive(RankId(0), Channel(-1), bytes)), HasSubstr("no channel -1"));
    EXPECT_EQ(refused(comm.barrier(group, channel)), "accepted");
  });
}

}  // namespace
}  // namespace moesim
