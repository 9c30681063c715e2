// Tokens that travel once for every part that they visit: the rows of both hops, for hand-made counts and whatever the mesh.
#include "sim/program/visit_table.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "sim/program/group_loads.hpp"
#include "sim/program/visit_law.hpp"
#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

using Matrix = std::vector<std::int64_t>;

Matrix matrix(const GroupLoads& group, GroupKind kind, int i) {
  Matrix rows;
  group.visit_matrix(0, 0, kind, i, rows);
  return rows;
}

void expect_rows(const VisitRows& rows, const VisitRows& expected) {
  EXPECT_EQ(rows.spread, expected.spread);
  EXPECT_EQ(rows.relayed, expected.relayed);
  EXPECT_EQ(rows.relay_spread, expected.relay_spread);
  EXPECT_EQ(rows.visiting, expected.visiting);
}

// 4 members with 2 experts each on 2 nodes, 10 tokens of each member with one expert, so that visits are counts:
// to members 0 to 3 go 3, 3, 1, 3 of member 0; 0, 5, 5, 0 of member 1; 10, 0, 0, 0 of member 2; 2, 2, 3, 3 of member 3.
RoutedLoads two_nodes() {
  RoutedLoads loads;
  loads.moe_layers = 1;
  loads.sources = 4;
  loads.experts = 8;
  loads.top_k = 1;
  loads.tokens_per_source = 10;
  loads.balanced = false;
  loads.counts = {1, 2, 0, 3, 1, 0, 2, 1, 0, 0, 5, 0, 0, 5, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2, 0, 3, 0, 3, 0};
  return loads;
}

TEST(Visits, OverTwoNodes) {
  const auto loads = with_visits(std::make_shared<const RoutedLoads>(two_nodes()), {4, 2}, {}, {});
  const GroupLoads group(*loads, {0, 1, 2, 3}, 4, 1);
  ASSERT_TRUE(group.visited());
  // Across: places 0 are members 0 and 2, places 1 members 1 and 3. Member 0 has 6 tokens for node 0 and 4 for node 1.
  EXPECT_EQ(matrix(group, GroupKind::kEpAcross, 0), (Matrix{6, 4, 10, 0}));
  EXPECT_EQ(matrix(group, GroupKind::kEpAcross, 1), (Matrix{5, 5, 4, 6}));
  EXPECT_EQ(matrix(group, GroupKind::kEpAcross, 2), matrix(group, GroupKind::kEpAcross, 0));
  // Inside node 0 member 0 hands on what came from members 0 and 2: 3 + 10 and 3 + 0.
  EXPECT_EQ(matrix(group, GroupKind::kEpInside, 0), (Matrix{13, 3, 2, 7}));
  EXPECT_EQ(matrix(group, GroupKind::kEpInside, 3), (Matrix{1, 3, 8, 3}));
  expect_rows(group.visits(0, 0, 0), {10, 16, 16, 15});
  expect_rows(group.visits(0, 0, 1), {10, 9, 9, 10});
  expect_rows(group.visits(0, 0, 2), {10, 4, 4, 9});
  expect_rows(group.visits(0, 0, 3), {10, 11, 11, 6});
}

TEST(Visits, WithOneHopGoToMembers) {
  for (const int on_node : {1, 4}) {
    const auto loads = with_visits(std::make_shared<const RoutedLoads>(two_nodes()), {4, on_node}, {}, {});
    const GroupLoads group(*loads, {0, 1, 2, 3}, 4, 1);
    EXPECT_EQ(matrix(group, GroupKind::kEp, 2), (Matrix{3, 3, 1, 3, 0, 5, 5, 0, 10, 0, 0, 0, 2, 2, 3, 3}));
    expect_rows(group.visits(0, 0, 0), {10, 0, 0, 15});
  }
}

// 28 tokens with two of 8 experts, two on each of 4 members: 13 visit a member and 22 a node of two.
TEST(Visits, OfATokenWithTwoExpertsCountOnce) {
  const auto balanced = std::make_shared<const RoutedLoads>(balanced_routed_loads(3, 8, 2, 28));
  const auto loads = with_visits(balanced, {4, 2}, {}, {});
  const GroupLoads group(*loads, {0, 0, 0, 0}, 4, 1);
  for (int layer = 0; layer < 3; ++layer) expect_rows(group.visits(layer, 0, 3), {44, 44, 52, 52});
  EXPECT_EQ(group.routed(0, 0, 0, 0), 56);
  const BalancedVisits counts = balanced_visits(8, 2, 28, {4, 2}, {});
  EXPECT_EQ(counts.of_members, 52);
  EXPECT_EQ(counts.of_nodes, 44);
  // Of copies there are none of these rows.
  expect_rows(GroupLoads(*balanced, {0, 0, 0, 0}, 4, 1).visits(0, 0, 0), {});
}

// One table serves all plans that divide alike; a copy of the loads begins anew.
TEST(Visits, AreWorkedOutOnce) {
  const auto loads = std::make_shared<const RoutedLoads>(two_nodes());
  const auto once = with_visits(loads, {4, 2}, {}, {});
  EXPECT_EQ(once->visits, with_visits(loads, {4, 2}, {}, {})->visits);
  EXPECT_NE(once->visits, with_visits(loads, {4, 4}, {}, {})->visits);
  auto other = two_nodes();
  other = *loads;
  other.counts[0] = 0;
  other.counts[1] = 3;
  const auto copy = std::make_shared<const RoutedLoads>(std::move(other));
  EXPECT_NE(once->visits, with_visits(copy, {4, 2}, {}, {})->visits);
  EXPECT_EQ(with_visits(loads, {1, 1}, {}, {}), loads);
}

// Rows that repeat, of other layers, micro-batches or sources, have the same visits, unless other experts stand in their slots.
TEST(Visits, RepeatWithTheirCounts) {
  RoutedLoads loads;
  loads.moe_layers = 2;
  loads.variants = 2;
  loads.sources = 2;
  loads.experts = 4;
  loads.top_k = 2;
  loads.tokens_per_source = 10;
  loads.balanced = false;
  const std::vector<std::int32_t> a = {5, 5, 5, 5}, b = {8, 6, 4, 2};
  for (const auto* row : {&a, &b, &a, &a, &b, &b, &b, &a})
    loads.counts.insert(loads.counts.end(), row->begin(), row->end());
  const GateGroups groups{2, 1};
  const ExpertSlots mixed{{{0, 1, 2, 3}, {0, 2, 1, 3}}};
  for (const ExpertSlots& slots : {ExpertSlots{}, mixed}) {
    const VisitTable table(loads, {4, 2}, groups, slots);
    for (int row = 0; row < 8; ++row) {
      const int layer = row / 4;
      const bool second = !slots.in_order() && layer == 1;
      VisitLaw law(4, 2, groups,
                   second ? std::span<const std::int32_t>(mixed.expert_at[1]) : std::span<const std::int32_t>());
      std::vector<std::int32_t> expected;
      law.choose(loads.row(layer, row / 2 % 2, row % 2), 10);
      const auto found = [](std::span<const std::int32_t> visits) {
        return std::vector<std::int32_t>(visits.begin(), visits.end());
      };
      law.visits(4, expected);
      EXPECT_EQ(found(table.of_members(layer, row / 2 % 2, row % 2)), expected) << row;
      law.visits(2, expected);
      EXPECT_EQ(found(table.of_nodes(layer, row / 2 % 2, row % 2)), expected) << row;
    }
  }
  // Five tokens take each group: in order a node is one, else all tokens visit it.
  EXPECT_EQ(VisitTable(loads, {4, 2}, groups, {}).of_nodes(1, 1, 1)[0], 5);
  EXPECT_EQ(VisitTable(loads, {4, 2}, groups, mixed).of_nodes(1, 1, 1)[0], 10);
}

std::int64_t total(const Matrix& values) { return std::accumulate(values.begin(), values.end(), std::int64_t{0}); }

// Each part that is visited gets the token once, what is sent arrives, and there are never more rows than copies, nor than all
// tokens for all.
TEST(Visits, AreConserved) {
  const ModelShape model = small_moe();
  for (const auto& [ep, on_node] :
       {std::pair(4, 2), std::pair(8, 2), std::pair(8, 4), std::pair(16, 4), std::pair(4, 1)})
    for (const int sources : {1, 3, 16}) {
      const Plan plan = plan_of({.dp = ep, .ep = ep}, 4);
      const auto own = skewed_loads(plan, model, sources, 2, static_cast<std::uint64_t>(ep + 7 * sources));
      const auto loads = with_visits(own, {ep, on_node}, {}, {});
      std::vector<int> order(static_cast<std::size_t>(ep));
      for (int i = 0; i < ep; ++i) order[static_cast<std::size_t>(i)] = i % sources;
      const GroupLoads group(*loads, order, ep, 1);
      for (int layer = 0; layer < loads->moe_layers; ++layer)
        for (int variant = 0; variant < 2; ++variant) {
          VisitRows all;
          for (int i = 0; i < ep; ++i) {
            const VisitRows rows = group.visits(layer, variant, i);
            all.spread += rows.spread;
            all.relayed += rows.relayed;
            all.relay_spread += rows.relay_spread;
            all.visiting += rows.visiting;
            EXPECT_LE(rows.spread, group.routed(layer, variant, i, 0));
            EXPECT_LE(rows.visiting, group.arrived_shards(layer, variant, i));
            EXPECT_LE(rows.visiting, loads->tokens_per_source * ep);
            EXPECT_GE(2 * rows.visiting, group.arrived_shards(layer, variant, i));  // two experts at most
            const bool two_hops = on_node > 1;
            Matrix out, inside;
            group.visit_matrix(layer, variant, two_hops ? GroupKind::kEpAcross : GroupKind::kEp, i, out);
            const auto size = static_cast<std::size_t>(two_hops ? ep / on_node : ep);
            const auto place = static_cast<std::size_t>(two_hops ? i / on_node : i);
            ASSERT_EQ(out.size(), size * size);
            std::int64_t sent = 0, arrived = 0;
            for (std::size_t k = 0; k < size; ++k) {
              sent += out[place * size + k];
              arrived += out[k * size + place];
              EXPECT_LE(out[place * size + k], loads->tokens_per_source);
            }
            EXPECT_EQ(sent, rows.spread);
            EXPECT_EQ(arrived, two_hops ? rows.relayed : rows.visiting);
            if (!two_hops) continue;
            group.visit_matrix(layer, variant, GroupKind::kEpInside, i, inside);
            sent = arrived = 0;
            for (int k = 0; k < on_node; ++k) {
              sent += inside[static_cast<std::size_t>(i % on_node * on_node + k)];
              arrived += inside[static_cast<std::size_t>(k * on_node + i % on_node)];
            }
            EXPECT_EQ(sent, rows.relay_spread);
            EXPECT_EQ(arrived, rows.visiting);
          }
          if (on_node == 1) {
            EXPECT_EQ(all.spread, all.visiting);
            continue;
          }
          EXPECT_EQ(all.spread, all.relayed);
          EXPECT_EQ(all.relay_spread, all.visiting);
          EXPECT_LE(all.spread, all.visiting);
          Matrix members;
          group.visit_matrix(layer, variant, GroupKind::kEp, 0, members);
          EXPECT_EQ(total(members), all.visiting);
        }
    }
}

}  // namespace
}  // namespace moesim
