// Tokens that travel once for every part that they visit: who sends how much to whom, and with experts in other places.
#include <gtest/gtest.h>

#include "exec/run/visit_state.hpp"
#include "sim/program/group_loads.hpp"
#include "tests/unit/exec/run/run_testing.hpp"

namespace moesim {
namespace {

// Of 4 members on 2 nodes: tokens for each member, and for each node.
VisitState two_nodes(int i) {
  VisitState visits;
  visits.parts = {4, 2};
  visits.i = i;
  visits.counts = {3, 3, 1, 3, 5, 4, 0, 5, 5, 0, 5, 5, 9, 1, 0, 0, 10, 0, 2, 2, 3, 3, 4, 5};
  const auto own = visits.counts.begin() + 6 * i;
  visits.own_counts.assign(own, own + 6);
  return visits;
}

// Member 0 has 5 tokens for node 0, 3 of them for itself and 3 for member 1, and 4 for node 1.
TEST(Visits, FollowFromWhatTheRanksTold) {
  const VisitState zero = two_nodes(0);
  EXPECT_EQ(zero.sent(GroupKind::kEpAcross, 0, 0), 5);
  EXPECT_EQ(zero.sent(GroupKind::kEpAcross, 0, 1), 4);
  EXPECT_EQ(zero.sent(GroupKind::kEpAcross, 1, 0), 10);  // of member 2
  EXPECT_EQ(two_nodes(3).sent(GroupKind::kEpAcross, 1, 0), 4);
  EXPECT_EQ(two_nodes(3).sent(GroupKind::kEpAcross, 0, 1), 5);  // of member 1
  EXPECT_EQ(zero.sent(GroupKind::kEpInside, 0, 0), 3 + 9);      // for itself, of its own and of member 2
  EXPECT_EQ(zero.sent(GroupKind::kEpInside, 0, 1), 3 + 1);
  EXPECT_EQ(zero.sent(GroupKind::kEpInside, 1, 0), 0 + 2);
  EXPECT_EQ(two_nodes(2).sent(GroupKind::kEpInside, 1, 0), 5 + 3);  // through member 3, of members 1 and 3
  EXPECT_EQ(zero.sent(GroupKind::kEp, 3, 1), 2);
  const VisitRows rows = zero.rows();
  EXPECT_EQ(rows.spread, 9);
  EXPECT_EQ(rows.relayed, 15);
  EXPECT_EQ(rows.relay_spread, 16);
  EXPECT_EQ(rows.visiting, 3 + 0 + 9 + 2);
  VisitState untold = two_nodes(1);
  untold.counts.clear();
  EXPECT_FALSE(untold.known());
  EXPECT_EQ(untold.rows().spread, 10);
  untold.parts = {4, 1};  // one hop: counts of members alone
  untold.own_counts = {0, 5, 5, 0, 0, 5, 5, 0};
  EXPECT_EQ(untold.rows().spread, 10);
}

const Trained& of_one_rank() {
  static const Trained trained = train_all(tiny_plan({}), tiny_moe(), 1).value();
  return trained;
}

void expect_as_on_one_rank(const Plan& plan) {
  SCOPED_TRACE(plan_text(plan) + " nodes of " + std::to_string(plan.sizes().ep_on_node) + " in " +
               std::to_string(plan.moe_degree));
  const Result<Trained> many = train_all(plan, tiny_moe(), 1);
  ASSERT_TRUE(many.has_value()) << many.error().what;
  EXPECT_NEAR(many->losses[0], of_one_rank().losses[0], 2e-6 * of_one_rank().losses[0]);
  const Difference gradients = difference(of_one_rank().gradients, many->gradients);
  EXPECT_LT(gradients.largest, 2e-5) << "gradient of " << gradients.where;
  EXPECT_EQ(many->weights.disagreement(), 0);
}

// Experts stand in mixed order, so that what counts are slots.
TEST(Visits, WithExpertsInOtherPlaces) {
  for (const int on_node : {1, 2, 4}) {
    Plan plan = tiny_plan({.dp = 4, .ep = 4, .ep_on_node = on_node});
    plan.moe_schedule = "deepep";
    plan.expert_slots.expert_at.assign(3, {5, 0, 3, 6, 1, 7, 2, 4});
    expect_as_on_one_rank(plan);
  }
}

// A token with one expert visits as often as it has copies: what the simulator works out of the counts is what is sent.
TEST(Visits, OfOneExpertAreThoseOfTheSimulator) {
  ModelShape model = tiny_moe();
  model.kinds[1].moe->top_k = 1;
  Plan plan = tiny_plan({.dp = 4, .ep = 4, .ep_on_node = 2});
  plan.moe_schedule = "deepep";
  RoutedLoads counts = balanced_routed_loads(3, 8, 1, 16);
  counts.balanced = false;
  counts.sources = 4;
  counts.counts.clear();
  for (int layer = 0; layer < 3; ++layer)
    for (int source = 0; source < 4; ++source)
      for (int expert = 0; expert < 8; ++expert) counts.counts.push_back(expert == (layer + source) % 8 ? 9 : 1);
  const auto layout = std::make_shared<const Layout>(Layout::make(plan.layout, 4).value());
  const Result<Program> program = lower(plan, model, layout, std::make_shared<const RoutedLoads>(counts));
  ASSERT_TRUE(program.has_value()) << program.error().what;
  const LoadClass one = load_classes(*layout, *program->loads).front();
  const GroupLoads predicted(*program->loads, one.sources, 4, 1);
  RunSettings settings;
  settings.gating = Gating::kReplay;
  // Held while a step runs, so asked for by the number of rows that the largest tensors of the second layer had.
  const auto rank_main = [&](Communicator& comm) -> Result<std::vector<VisitRows>> {
    const auto backend = make_cpu_backend();
    std::vector<VisitRows> rows;
    const auto watch = [&](std::int64_t, const StepResult&, RankRunner& runner) -> Status {
      for (int layer = 1; layer < 4; ++layer) {
        VisitState visits;
        visits.parts = {4, 2};
        visits.i = comm.rank().value();
        for (int member = 0; member < 4; ++member) {
          std::vector<std::int32_t> of_member(6, 0);
          for (int expert = 0; expert < 8; ++expert) {
            const std::int32_t tokens = expert == (layer - 1 + member) % 8 ? 9 : 1;
            of_member[static_cast<std::size_t>(expert / 2)] += tokens;
            of_member[static_cast<std::size_t>(4 + expert / 4)] += tokens;
          }
          visits.counts.insert(visits.counts.end(), of_member.begin(), of_member.end());
          if (member == visits.i) visits.own_counts = of_member;
        }
        rows.push_back(visits.rows());
        for (const GateChoice& choice : runner.context().choices) {
          if (choice.layer != LayerId(layer)) continue;
          EXPECT_EQ(choice.counts[static_cast<std::size_t>((layer - 1 + visits.i) % 8)], 9);
        }
      }
      return {};
    };
    MOESIM_TRY(train({*program, settings, synthetic_sequences(200, 7), 1}, *backend, comm, real_clock(), watch));
    return rows;
  };
  const auto ranks = run_local_world<std::vector<VisitRows>>(local_world(4), rank_main);
  for (int i = 0; i < 4; ++i) {
    const auto& rows = ranks[static_cast<std::size_t>(i)];
    ASSERT_TRUE(rows.has_value()) << rows.error().what;
    for (int layer = 0; layer < 3; ++layer) {
      const VisitRows expected = predicted.visits(layer, 0, i);
      const VisitRows& own = (*rows)[static_cast<std::size_t>(layer)];
      EXPECT_EQ(own.spread, expected.spread);
      EXPECT_EQ(own.relayed, expected.relayed);
      EXPECT_EQ(own.relay_spread, expected.relay_spread);
      EXPECT_EQ(own.visiting, expected.visiting);
    }
  }
}

}  // namespace
}  // namespace moesim
