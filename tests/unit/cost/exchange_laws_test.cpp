#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <string>

#include "models/cost/all_to_all_v_law.hpp"
#include "models/cost/exchange/exchange_law.hpp"
#include "test_cluster.hpp"

namespace moesim {
namespace {

constexpr std::int64_t kGigabyte = 1'000'000'000;

// Copies run at 1 TB/s, read and written: 2 ms per GB.
LawParameters exchange_parameters() {
  LawParameters parameters = round_parameters();
  parameters.memory = {.efficiency = 1, .row_ramp_bytes = 0, .overhead = Seconds(0)};
  return parameters;
}

std::vector<std::int64_t> uniform(int ranks, std::int64_t each) {
  return std::vector<std::int64_t>(static_cast<std::size_t>(ranks * ranks), each);
}

std::vector<std::int64_t> random_matrix(int ranks, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::int64_t> bytes;
  for (int i = 0; i < ranks * ranks; ++i)
    bytes.push_back(static_cast<std::int64_t>(random() % 4 * (random() % 100'000)));
  return bytes;
}

ExchangeWork work_of(ExchangeAlgorithm algorithm, const GroupTopology& group, const std::vector<std::int64_t>& units) {
  return exchange_law(algorithm).work(group, {.bytes = units, .ranks = group.size()}, PortLoads());
}

CommCost cost_of(ExchangeAlgorithm algorithm, const GroupTopology& group, const std::vector<std::int64_t>& bytes) {
  return exchange_cost(group, exchange_parameters(), work_of(algorithm, group, bytes), Bytes(1));
}

// 2 nodes of 2, 100 GB/s inside (1 us a step), a NIC of 10 GB/s for each rank (10 us), 1 GB from each to each.
class TwoNodesOfTwo : public testing::Test {
 protected:
  ClusterView view = two_tier_view(2, 2);
  GroupTopology group{view, rank_list(4)};
  std::vector<std::int64_t> gigabytes = uniform(4, kGigabyte);
};

TEST_F(TwoNodesOfTwo, Linear) {
  // 2 GB over each NIC; steps for one peer inside and two across.
  const CommCost cost = cost_of(ExchangeAlgorithm::kLinear, group, gigabytes);
  EXPECT_NEAR(cost.time.value(), 0.2 + 21e-6, 1e-12);
  EXPECT_DOUBLE_EQ(cost.busiest_rank_bytes[0], 1e9);
  EXPECT_DOUBLE_EQ(cost.busiest_rank_bytes[1], 2e9);
}

TEST_F(TwoNodesOfTwo, Pairwise) {
  // In each of the three rounds some pair is across.
  const CommCost cost = cost_of(ExchangeAlgorithm::kPairwise, group, gigabytes);
  EXPECT_NEAR(cost.time.value(), 3 * (0.1 + 10e-6), 1e-12);
  EXPECT_NEAR(cost.port_share[1], 0.3 / cost.time.value(), 1e-6);
}

TEST_F(TwoNodesOfTwo, Pipe) {
  // 10 ms inside beside two rounds across.
  const CommCost cost = cost_of(ExchangeAlgorithm::kPipe, group, gigabytes);
  EXPECT_NEAR(cost.time.value(), 2 * (0.1 + 10e-6), 1e-12);
  EXPECT_NEAR(cost.port_share[0], 0.01 / cost.time.value(), 1e-6);
}

TEST_F(TwoNodesOfTwo, TwoLevel) {
  // 3 GB copied; 2 GB to the neighbour; 2 GB copied; 2 GB to the rank of equal place in one message.
  const CommCost cost = cost_of(ExchangeAlgorithm::kTwoLevel, group, gigabytes);
  EXPECT_NEAR(cost.time.value(), 6e-3 + (20e-3 + 1e-6) + 4e-3 + (0.2 + 10e-6), 1e-12);
  EXPECT_DOUBLE_EQ(cost.busiest_rank_bytes[0], 2e9);
  EXPECT_DOUBLE_EQ(cost.busiest_rank_bytes[1], 2e9);
}

TEST_F(TwoNodesOfTwo, OneLevel) {
  // The leader takes 3 GB, copies 4 GB, sends 4 GB across, copies 4 GB, hands on 2 GB.
  const CommCost cost = cost_of(ExchangeAlgorithm::kOneLevel, group, gigabytes);
  EXPECT_NEAR(cost.time.value(), (30e-3 + 1e-6) + 8e-3 + (0.4 + 10e-6) + 8e-3 + (20e-3 + 1e-6), 1e-12);
  EXPECT_DOUBLE_EQ(cost.busiest_rank_bytes[1], 4e9);
}

// One NIC for the node: 1dh sends as much over it as linear does, in fewer and larger messages.
TEST(ExchangeLaws, OneLevelIsMadeForOneNicPerNode) {
  const ClusterView view = two_tier_view(2, 4, 4);
  const GroupTopology group(view, rank_list(8));
  const auto small = uniform(8, 1000);
  // 16 blocks of 1 kB leave the node, 1.6 us at 10 GB/s: steps decide. Linear has 3 inside and 4 across.
  EXPECT_GT(cost_of(ExchangeAlgorithm::kLinear, group, small).time.value(), 43e-6);
  EXPECT_LT(cost_of(ExchangeAlgorithm::kOneLevel, group, small).time.value(), 25e-6);
}

TEST(ExchangeLaws, LinearIsTheLawOfTheByteMatrix) {
  const ClusterView view = two_tier_view(2, 4, 2);
  const GroupTopology group(view, rank_list(8));
  const CostModel model(view, {exchange_parameters()});
  for (const unsigned seed : {1u, 2u, 3u}) {
    const auto bytes = random_matrix(8, seed);
    const ByteMatrix matrix{bytes, 8};
    const CommCost linear =
        model.exchange(group, model.exchange_work(ExchangeAlgorithm::kLinear, group, matrix), Bytes(3));
    const CommCost law = model.all_to_all_v(group, model.exchange_load(group, matrix), Bytes(3));
    EXPECT_EQ(linear.time, law.time);
    EXPECT_EQ(linear.port_share, law.port_share);
  }
}

// On one node there is nothing to merge: the hierarchical ones are linear.
TEST(ExchangeLaws, OnOneNodeTheLevelsVanish) {
  const ClusterView view = two_tier_view(1, 4);
  const GroupTopology group(view, rank_list(4));
  const auto bytes = random_matrix(4, 7);
  const Seconds linear = cost_of(ExchangeAlgorithm::kLinear, group, bytes).time;
  EXPECT_NEAR(cost_of(ExchangeAlgorithm::kTwoLevel, group, bytes).time.value(), linear.value(), 1e-15);
  EXPECT_NEAR(cost_of(ExchangeAlgorithm::kOneLevel, group, bytes).time.value(), linear.value(), 1e-15);
}

// N nodes of G with S bytes from every rank: messages across grow from S/n to S G/n, their sum stays.
TEST(ExchangeLaws, TwoLevelSendsFewerLargerMessages) {
  for (const int nodes : {2, 4})
    for (const int on_node : {2, 4, 8}) {
      const ClusterView view = two_tier_view(nodes, on_node);
      const GroupTopology group(view, rank_list(nodes * on_node));
      const auto bytes = uniform(group.size(), 1000);
      const ExchangeWork linear = work_of(ExchangeAlgorithm::kLinear, group, bytes);
      const ExchangeWork levels = work_of(ExchangeAlgorithm::kTwoLevel, group, bytes);
      const double before = linear.phases[0].load.busiest_rank[1];
      const double after = levels.phases[1].load.busiest_rank[1];
      EXPECT_DOUBLE_EQ(before, after);
      EXPECT_DOUBLE_EQ(before / linear.phases[0].steps[1], 1000);
      EXPECT_DOUBLE_EQ(after / levels.phases[1].steps[1], 1000.0 * on_node);
    }
}

// A random matrix: every byte for another node crosses once, whatever the algorithm, and none is lost inside.
TEST(ExchangeLaws, BytesAreConservedByTier) {
  struct Counted final : PhaseLoads {
    // By tier, of all messages between different ranks.
    mutable std::array<std::int64_t, kMaxTiers> moved{};
    void add(const GroupTopology& group, int from, int to, std::int64_t units) const {
      if (const int t = meeting_tier(group, from, to); t >= 0) moved[static_cast<std::size_t>(t)] += units;
    }
    ExchangeLoad of(const GroupTopology& group, const ByteMatrix& units) const override {
      for (int i = 0; i < units.ranks; ++i)
        for (int j = 0; j < units.ranks; ++j) add(group, i, j, units.at(i, j));
      return PortLoads().of(group, units);
    }
    ExchangeLoad of(const GroupTopology& group, std::span<const ExchangeMessage> messages) const override {
      for (const ExchangeMessage& message : messages) add(group, message.from, message.to, message.units);
      return PortLoads().of(group, messages);
    }
  };
  const ClusterView view = two_tier_view(4, 4);
  // The second group has 3, 1 and 2 ranks on its nodes.
  for (const std::vector<RankId>& ranks :
       {rank_list(16), std::vector<RankId>{RankId(0), RankId(1), RankId(2), RankId(4), RankId(8), RankId(9)}}) {
    const GroupTopology group(view, ranks);
    const auto bytes = random_matrix(group.size(), 11);
    std::array<std::int64_t, kMaxTiers> direct{};
    for (const ExchangeAlgorithm algorithm : exchange_algorithms()) {
      const Counted counted;
      const ExchangeWork work = exchange_law(algorithm).work(group, {bytes, group.size()}, counted);
      EXPECT_EQ(work.algorithm, algorithm);
      if (algorithm == ExchangeAlgorithm::kLinear) direct = counted.moved;
      EXPECT_EQ(counted.moved[1], direct[1]) << exchange_algorithm_name(algorithm);
      EXPECT_GE(counted.moved[0], direct[0]) << exchange_algorithm_name(algorithm);
      const bool straight = algorithm == ExchangeAlgorithm::kPairwise || algorithm == ExchangeAlgorithm::kPipe;
      if (straight) {
        EXPECT_EQ(counted.moved[0], direct[0]) << exchange_algorithm_name(algorithm);
      }
      // Nothing is faster than the busiest port of what must cross.
      const CommCost cost = exchange_cost(group, exchange_parameters(), work, Bytes(1));
      EXPECT_GE(cost.time.value(), work_of(ExchangeAlgorithm::kLinear, group, bytes).phases[0].load.port_seconds[1]);
      for (const float share : cost.port_share) EXPECT_LE(share, 1.0F + 1e-6F);
    }
  }
}

TEST(ExchangeLaws, RoundsOfFewMessagesPressOnPortsAsTheMatrixDoes) {
  const ClusterView view = rail_view(2, 4);
  const GroupTopology group(view, rank_list(8));
  const auto bytes = random_matrix(8, 5);
  std::vector<ExchangeMessage> messages;
  for (int i = 0; i < 8; ++i)
    for (int j = 0; j < 8; ++j) messages.push_back({i, j, bytes[static_cast<std::size_t>(i * 8 + j)]});
  const ExchangeLoad dense = PortLoads().of(group, {bytes, 8});
  const ExchangeLoad sparse = PortLoads().of(group, messages);
  for (std::size_t t = 0; t < 3; ++t) {
    EXPECT_DOUBLE_EQ(sparse.port_seconds[t], dense.port_seconds[t]);
    EXPECT_DOUBLE_EQ(sparse.busiest_rank[t], dense.busiest_rank[t]);
  }
}

TEST(ExchangeLaws, TimesGrowWithTheUnit) {
  const ClusterView view = two_tier_view(2, 4);
  const GroupTopology group(view, rank_list(8));
  const auto rows = random_matrix(8, 3);
  for (const ExchangeAlgorithm algorithm : exchange_algorithms()) {
    const ExchangeWork work = work_of(algorithm, group, rows);
    Seconds last;
    for (const std::int64_t unit : {1, 10, 1000}) {
      const Seconds time = exchange_cost(group, exchange_parameters(), work, Bytes(unit)).time;
      EXPECT_GT(time, last) << exchange_algorithm_name(algorithm);
      last = time;
    }
  }
}

TEST(ExchangeAlgorithms, AreFoundByName) {
  for (const ExchangeAlgorithm algorithm : exchange_algorithms())
    EXPECT_EQ(find_exchange_algorithm(exchange_algorithm_name(algorithm)).value(), algorithm);
  const auto wrong = find_exchange_algorithm("2hd");
  ASSERT_FALSE(wrong.has_value());
  EXPECT_NE(wrong.error().what.find("did you mean '2dh'"), std::string::npos) << wrong.error().what;
}

TEST(NodePlaces, UnevenNodesWrap) {
  const NodePlaces places = node_places(std::vector<std::int32_t>{7, 7, 7, 2, 2});
  EXPECT_EQ(places.members.size(), 2u);
  EXPECT_EQ(relay_of(places, 3, 2), 3);  // place 2 of 2
  EXPECT_EQ(relay_of(places, 0, 4), 1);
  EXPECT_EQ(relay_of(places, 0, 2), 2);
  EXPECT_EQ(leader_of(places, 4), 3);
}

// Each ordered pair once, nobody with two partners in a round, sender and receiver agree.
TEST(NodePlaces, RoundsMeetEveryPairOnce) {
  for (const std::vector<std::int32_t>& nodes :
       {std::vector<std::int32_t>{0, 0, 1, 1}, {0, 0, 0, 1, 1, 2}, {0, 1, 2, 0, 1, 2}, {0}, {0, 0, 0}, {0, 1, 2}}) {
    const NodePlaces places = node_places(nodes);
    const int n = places.size();
    std::vector<int> met(static_cast<std::size_t>(n * n), 0);
    for (const bool across : {false, true})
      for (const NodeRound round : across ? rounds_across(places) : rounds_inside(places)) {
        std::vector<int> receives(static_cast<std::size_t>(n), 0);
        for (int member = 0; member < n; ++member) {
          const int to = receiver_in(places, round, member);
          if (to < 0) continue;
          EXPECT_EQ(sender_in(places, round, to), member);
          EXPECT_EQ(places.together(member, to), !across);
          EXPECT_EQ(++receives[static_cast<std::size_t>(to)], 1);
          ++met[static_cast<std::size_t>(member * n + to)];
        }
      }
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < n; ++j) EXPECT_EQ(met[static_cast<std::size_t>(i * n + j)], i == j ? 0 : 1);
  }
}

}  // namespace
}  // namespace moesim
