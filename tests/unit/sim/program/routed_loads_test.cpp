// Every routed token copy arrives exactly once, whatever the mesh.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "sim/program/group_loads.hpp"
#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

std::int64_t sum(std::span<const std::int64_t> values) {
  return std::accumulate(values.begin(), values.end(), std::int64_t{0});
}

void expect_conserved(const ParallelSizes& sizes, int sources, int variants, const std::string& order) {
  Plan plan = plan_of(sizes, 4 * sizes.pp);
  plan.layout.order = order;
  const ModelShape model = small_moe();
  const Layout layout = Layout::make(plan.layout, sizes.world()).value();
  const auto loads =
      skewed_loads(plan, model, sources, variants, static_cast<std::uint64_t>(sizes.world() * 31 + sources));
  const auto classes = load_classes(layout, *loads);
  const std::int64_t copies = loads->tokens_per_source * loads->top_k;
  std::set<int> positions;
  for (const LoadClass& one : classes) {
    for (const auto& members : one.members)
      for (const int position : members) EXPECT_TRUE(positions.insert(position).second) << "two classes name one rank";
    const GroupLoads group(*loads, one.sources, sizes.ep, sizes.esp);
    for (int layer = 0; layer < loads->moe_layers; ++layer)
      for (int variant = 0; variant < variants; ++variant) {
        std::int64_t routed = 0, arrived = 0, computed = 0, by_expert = 0;
        std::vector<std::int64_t> matrix;
        for (int i = 0; i < sizes.ep; ++i) {
          std::int64_t reached = 0;
          for (int j = 0; j < sizes.esp; ++j) {
            EXPECT_EQ(group.routed(layer, variant, i, j), copies);
            routed += group.routed(layer, variant, i, j);
            reached += group.arrived(layer, variant, i, j);
          }
          arrived += reached;
          EXPECT_EQ(group.arrived_shards(layer, variant, i), reached);  // sharing adds nothing
          computed += group.arrived_shards(layer, variant, i);
          by_expert += sum(group.expert_rows(layer, variant, i));
        }
        EXPECT_EQ(routed, copies * sizes.ep * sizes.esp);
        EXPECT_EQ(arrived, routed);
        EXPECT_EQ(computed, routed);
        EXPECT_EQ(by_expert, routed);
        // With a copy for each shard everything is sent ESP times, and a rank receives what it computes.
        group.send_matrix_to_shards(layer, variant, matrix);
        const auto ranks = static_cast<std::size_t>(sizes.ep * sizes.esp);
        ASSERT_EQ(matrix.size(), ranks * ranks);
        for (std::size_t rank = 0; rank < ranks; ++rank) {
          std::int64_t out = 0, in = 0;
          for (std::size_t k = 0; k < ranks; ++k) {
            out += matrix[rank * ranks + k];
            in += matrix[k * ranks + rank];
          }
          EXPECT_EQ(out, copies * sizes.esp);
          EXPECT_EQ(in, group.arrived_shards(layer, variant, static_cast<int>(rank) / sizes.esp));
        }
        for (int j = 0; j < sizes.esp; ++j) {
          group.send_matrix(layer, variant, j, matrix);
          ASSERT_EQ(matrix.size(), static_cast<std::size_t>(sizes.ep * sizes.ep));
          for (int i = 0; i < sizes.ep; ++i) {
            std::int64_t out = 0, in = 0;
            for (int k = 0; k < sizes.ep; ++k) {
              out += matrix[static_cast<std::size_t>(i * sizes.ep + k)];
              in += matrix[static_cast<std::size_t>(k * sizes.ep + i)];
            }
            EXPECT_EQ(out, group.routed(layer, variant, i, j));
            EXPECT_EQ(in, group.arrived(layer, variant, i, j));
          }
        }
      }
  }
  EXPECT_EQ(positions.size(), static_cast<std::size_t>(sizes.world() / sizes.pp));
}

TEST(RoutedLoads, ConservedOnEveryMesh) {
  for (const char* order : {"tp-cp-ep-dp-pp", "tp-cp-pp-ep-dp"})
    for (const int sources : {1, 3, 8}) {
      expect_conserved({.dp = 8, .ep = 8}, sources, 2, order);
      expect_conserved({.tp = 2, .dp = 8, .ep = 4, .esp = 2, .edp = 2}, sources, 3, order);
      expect_conserved({.tp = 2, .cp = 2, .pp = 2, .dp = 4, .ep = 2, .esp = 4, .edp = 2}, sources, 1, order);
      expect_conserved({.pp = 4, .dp = 4, .esp = 4}, sources, 4, order);
    }
}

// Without expert parallelism each rank computes what its own gate chose.
TEST(RoutedLoads, LoneRanksReadTheirOwnSource) {
  const Plan plan = plan_of({.dp = 4, .edp = 4}, 4);
  const Layout layout = Layout::make(plan.layout, 4).value();
  const auto loads = skewed_loads(plan, small_moe(), 4, 2, 5);
  const auto classes = load_classes(layout, *loads);
  ASSERT_EQ(classes.size(), 4U);
  for (const LoadClass& one : classes) {
    ASSERT_EQ(one.members.size(), 1U);
    EXPECT_EQ(one.sources, one.members[0]);
    const GroupLoads group(*loads, one.sources, 1, 1);
    const auto rows = group.expert_rows(3, 1, 0);
    const auto counts = loads->row(3, 1, one.sources[0]);
    EXPECT_TRUE(std::equal(rows.begin(), rows.end(), counts.begin(), counts.end()));
  }
  EXPECT_EQ(load_classes(layout, *skewed_loads(plan, small_moe(), 2, 2, 5)).size(), 2U);
  EXPECT_EQ(load_classes(layout, balanced_routed_loads(7, 16, 2, 64)).size(), 1U);
}

TEST(RoutedLoads, BalancedSpreadsTheRemainder) {
  // 10 selections over 4 experts: 2, 3, 2, 3.
  const RoutedLoads loads = balanced_routed_loads(2, 4, 2, 5);
  EXPECT_EQ(loads.counts, (std::vector<std::int32_t>{2, 3, 2, 3, 2, 3, 2, 3}));
}

// Expert 2 stands in slot 0, expert 0 in slot 1, expert 1 in slot 2, in the second layer only.
TEST(RoutedLoads, BySlotMovesWhatIsSentAndNotWhatIsChosen) {
  RoutedLoads own;
  own.moe_layers = 2;
  own.experts = 3;
  own.balanced = false;
  own.counts = {1, 2, 3, 4, 5, 6};
  const auto loads = std::make_shared<const RoutedLoads>(own);
  EXPECT_EQ(by_slot(loads, {}), loads);
  const auto placed = by_slot(loads, {{{0, 1, 2}, {2, 0, 1}}});
  EXPECT_EQ(placed->counts, (std::vector<std::int32_t>{1, 2, 3, 6, 4, 5}));
  EXPECT_EQ(placed->chosen, own.counts);
}

// 5, 1, 2 and 3 copies of the first source, the same of the second, whose rests go the other way; an empty slot gets none.
TEST(RoutedLoads, BySlotDealsCopiesOutOverTheSlotsOfAnExpert) {
  RoutedLoads own;
  own.moe_layers = 1;
  own.sources = 2;
  own.experts = 4;
  own.balanced = false;
  own.counts = {5, 1, 2, 3, 5, 1, 2, 3};
  const auto loads = std::make_shared<const RoutedLoads>(own);
  const auto dealt = by_slot(loads, {{{0, 1, 3, 2, 3, 0}}});
  EXPECT_EQ(dealt->counts, (std::vector<std::int32_t>{2, 1, 1, 2, 2, 3, 3, 1, 2, 2, 1, 2}));
  EXPECT_EQ(dealt->chosen, own.counts);
  EXPECT_EQ(dealt->chosen_row(0, 0, 1)[3], 3);
  EXPECT_EQ(dealt->row(0, 0, 1).size(), 6U);
  const auto with_empty = by_slot(loads, {{{0, 1, 2, 3, kNoExpert, 0}}});
  EXPECT_EQ(with_empty->counts, (std::vector<std::int32_t>{2, 1, 2, 3, 0, 3, 3, 1, 2, 3, 0, 2}));
  // Layers of balanced loads are alike no longer.
  EXPECT_FALSE(by_slot(std::make_shared<const RoutedLoads>(balanced_routed_loads(1, 4, 1, 8)), {{{0, 1, 3, 2, 3, 0}}})
                   ->balanced);
}

// Whatever is dealt out, each expert's copies all arrive, and the slots of one differ by at most one copy of a source.
TEST(RoutedLoads, DealtCopiesAreConserved) {
  const auto own = skewed_loads(plan_of({.dp = 4, .ep = 4}, 2), small_moe(), 4, 2, 3);
  std::vector<std::int32_t> slots;
  for (std::int32_t device = 0; device < 4; ++device) {
    for (std::int32_t place = 0; place < 4; ++place) slots.push_back(4 * device + place);
    slots.push_back((4 * device + 4) % 16);  // the first of the next
    slots.push_back(device == 3 ? kNoExpert : 15);
  }
  const ExpertSlots placed{std::vector(7, slots)};
  const auto dealt = by_slot(own, placed);
  ASSERT_EQ(dealt->slots(), 24);
  for (int layer = 0; layer < 7; ++layer)
    for (int variant = 0; variant < 2; ++variant)
      for (int source = 0; source < 4; ++source) {
        std::vector<std::int32_t> sums(16, 0);
        std::vector<std::int32_t> least(16, 1 << 30);
        std::vector<std::int32_t> most(16, 0);
        const auto row = dealt->row(layer, variant, source);
        for (std::size_t slot = 0; slot < slots.size(); ++slot) {
          if (slots[slot] == kNoExpert) {
            EXPECT_EQ(row[slot], 0);
            continue;
          }
          const auto e = static_cast<std::size_t>(slots[slot]);
          sums[e] += row[slot];
          least[e] = std::min(least[e], row[slot]);
          most[e] = std::max(most[e], row[slot]);
        }
        const auto chosen = own->row(layer, variant, source);
        for (std::size_t e = 0; e < 16; ++e) {
          EXPECT_EQ(sums[e], chosen[e]);
          EXPECT_LE(most[e] - least[e], 1);
        }
      }
  // What the devices compute is what was routed.
  const GroupLoads group(*dealt, {0, 1, 2, 3}, 4, 1);
  std::int64_t computed = 0;
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(group.expert_rows(0, 0, i).size(), 6U);
    computed += group.arrived_shards(0, 0, i);
  }
  EXPECT_EQ(computed, 4 * own->tokens_per_source * own->top_k);
}

TEST(RoutedLoads, CapacityCutsAndPads) {
  RoutedLoads loads = balanced_routed_loads(1, 4, 1, 8);
  loads.counts = {5, 2, 1, 0};
  RoutedLoads padded = loads;
  // Capacity ceil(1.25 * 8 / 4) = 3.
  EXPECT_EQ(apply_capacity(loads, 1.25, false), 2);
  EXPECT_EQ(loads.counts, (std::vector<std::int32_t>{3, 2, 1, 0}));
  EXPECT_EQ(apply_capacity(padded, 1.25, true), 2);
  EXPECT_EQ(padded.counts, (std::vector<std::int32_t>{3, 3, 3, 3}));
}

TEST(RoutedLoads, ClassesWithMoreWorkComeFirst) {
  const Plan plan = plan_of({.dp = 8, .ep = 4, .edp = 2}, 4);
  const auto loads = skewed_loads(plan, small_moe(), 8, 2, 7);
  const Layout layout = Layout::make(plan.layout, 8).value();
  const auto classes = load_classes(layout, *loads);
  ASSERT_EQ(classes.size(), 2U);
  EXPECT_GE(classes[0].expert_work, classes[1].expert_work);
  EXPECT_GT(classes[1].expert_work, 0);
  // Sources that repeat fold the two groups into one class.
  const auto few = skewed_loads(plan, small_moe(), 4, 2, 7);
  const auto folded = load_classes(layout, *few);
  ASSERT_EQ(folded.size(), 1U);
  EXPECT_EQ(folded[0].members.size(), 2U);
}

}  // namespace
}  // namespace moesim
