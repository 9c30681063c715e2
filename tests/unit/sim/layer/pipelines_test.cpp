// Pipelined schedules against closed forms, under a clock of the test's own: what an exchange, a gather, a sum and the experts of one
// piece take, everything else nothing, and no two operations in each other's way. What the replay gives then is the order of
// the schedule and nothing else.
#include <algorithm>
#include <array>
#include <cmath>
#include <random>

#include "models/cost/closed/fsmoe.hpp"
#include "models/cost/closed/parm.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "tests/unit/sim/layer/layer_testing.hpp"

namespace moesim {
namespace {

struct Clock {  // picoseconds of one piece
  Picoseconds exchange = 0;
  Picoseconds gather = 0;
  Picoseconds sum = 0;
  Picoseconds experts = 0;           // forward: at the up-projection
  Picoseconds experts_backward = 0;  // at the gradient of the down-projection's input
};

Picoseconds time_of(const Op& op, const Clock& clock) {
  const bool gemm = op.kind == OpKind::kGroupedGemm && op.name == "experts.up";
  const bool gradient = op.kind == OpKind::kGroupedGemmDgrad && op.name == "experts.down";
  if (op.kind == OpKind::kDispatch || op.kind == OpKind::kCombine) return clock.exchange;
  const bool of_copies = op.name.starts_with("moe.");
  if (op.kind == OpKind::kAllGather && of_copies) return clock.gather;
  if (op.kind == OpKind::kReduceScatter && of_copies) return clock.sum;
  if (gemm) return clock.experts;
  return gradient ? clock.experts_backward : 0;
}

// One pass of a layer under a schedule, its operations known, to be played under many clocks.
class PassUnderClock {
 public:
  PassUnderClock(const LayerCase& layer, std::string_view schedule, int degree, BlockKind pass, const CostModel& costs,
                 int backward_degree = 0) {
    auto plan = plan_of_schedule(layer, schedule, LayerBoundary::kWhole).value();
    plan.moe_degree = degree;
    plan.moe_backward_degree = backward_degree;
    program_ = lower_layer(layer, plan, {}).value();
    replay_ = price(program_, costs, {}).replay;
    replay_.compute_slowdown = 1;
    std::erase_if(replay_.entities.front().calls,
                  [&](const ReplayCall& call) { return program_.blocks[call.block].kind != pass; });
    for (ReplayBlock& block : replay_.blocks)
      for (ReplayOp& op : block.ops) op.port_use = 0;
  }

  Picoseconds play(const Clock& clock) {
    auto& table = replay_.durations[replay_.entities.front().durations];
    for (std::size_t b = 0; b < replay_.blocks.size(); ++b)
      for (std::size_t i = 0; i < replay_.blocks[b].ops.size(); ++i)
        table[replay_.blocks[b].ops[i].duration] = time_of(program_.blocks[b].ops[i], clock);
    const ReplayResult result = replay(replay_, {});
    EXPECT_TRUE(result.finished);
    return result.end;
  }

 private:
  Program program_;
  ReplayProgram replay_;
};

Picoseconds drawn(std::mt19937_64& random, std::int64_t least, std::int64_t most) {
  return least + static_cast<Picoseconds>(random() % static_cast<std::uint64_t>(most - least + 1));
}

// The closed form of a pipeline on two resources is exact for all dispatches first: every point, forward and, with twice the
// experts, backward.
TEST(PipeMoe, ReplayIsTheClosedForm) {
  const Testbed bed = testbed(2);
  const LayerCase layer = layer_case(layer_plan(8, 1, 1));
  std::mt19937_64 random(7);
  for (const int degree : {1, 2, 4, 8}) {
    PassUnderClock forward(layer, "pipemoe", degree, BlockKind::kForward, *bed.costs);
    PassUnderClock backward(layer, "pipemoe", degree, BlockKind::kBackward, *bed.costs);
    for (int point = 0; point < 200; ++point) {
      const Clock clock{.exchange = drawn(random, 0, 1000),
                        .experts = drawn(random, 0, 2000),
                        .experts_backward = drawn(random, 0, 4000)};
      // Of the whole: alpha is a piece's, and the amounts are nothing.
      const auto closed = [&](Picoseconds experts) {
        PipeMoeLayer of;
        of.exchange.alpha = Seconds(static_cast<double>(clock.exchange));
        of.experts.alpha = Seconds(static_cast<double>(experts));
        return pipemoe_time(of, degree).value();
      };
      EXPECT_EQ(static_cast<double>(forward.play(clock)), closed(clock.experts)) << degree;
      EXPECT_EQ(static_cast<double>(backward.play(clock)), closed(clock.experts_backward)) << degree;
    }
  }
}

// The example of models/cost/closed/pipemoe.hpp through the whole program: alpha_a 1, beta_a n 12, alpha_e 1, beta_e w 24.
TEST(PipeMoe, ReplayOfTheWorkedExample) {
  const Testbed bed = testbed(2);
  const LayerCase layer = layer_case(layer_plan(8, 1, 1));
  const auto played = [&](int degree) {
    return PassUnderClock(layer, "pipemoe", degree, BlockKind::kForward, *bed.costs)
        .play({.exchange = 1000 + 12'000 / degree, .experts = 1000 + 24'000 / degree});
  };
  EXPECT_EQ(played(1), 51'000);
  EXPECT_EQ(played(2), 40'000);
  EXPECT_EQ(played(4), 36'000);
  EXPECT_EQ(played(8), 40'000);  // 2 * 8 * 2.5 against 2 * 2.5 + 8 * 4 = 37
}

// FSMoE's order on its three resources, step by step: D1 ... Dr C1 ... Cr between nodes, G1 G2 S1 G3 S2 ... Sr inside, E1 ... Er.
Picoseconds three_resources(int degree, const Clock& clock) {
  const Picoseconds dispatched = degree * clock.exchange;
  Picoseconds inside = 0;
  Picoseconds computed = 0;
  Picoseconds between = dispatched;
  Picoseconds gathered = 0;
  const auto gather = [&](int piece) {
    inside = std::max(inside, (piece + 1) * clock.exchange) + clock.gather;
    gathered = inside;
  };
  gather(0);
  for (int piece = 0; piece < degree; ++piece) {
    computed = std::max(computed, gathered) + clock.experts;
    if (piece + 1 < degree) gather(piece + 1);
    inside = std::max(inside, computed) + clock.sum;
    between = std::max(between, inside) + clock.exchange;
  }
  return between;
}

Clock drawn_clock(std::mt19937_64& random) {
  return {.exchange = drawn(random, 1, 1000),
          .gather = drawn(random, 1, 1000),
          .sum = drawn(random, 1, 1000),
          .experts = drawn(random, 1, 2000)};
}

TEST(FsMoe, ReplayIsItsOrderOnThreeResources) {
  const Testbed bed = testbed(2);
  const LayerCase layer = layer_case(layer_plan(8, 2, 2));
  std::mt19937_64 random(11);
  for (const int degree : {2, 4, 8}) {
    PassUnderClock forward(layer, "fsmoe", degree, BlockKind::kForward, *bed.costs);
    PassUnderClock backward(layer, "fsmoe", degree, BlockKind::kBackward, *bed.costs);
    for (int point = 0; point < 200; ++point) {
      Clock clock = drawn_clock(random);
      EXPECT_EQ(forward.play(clock), three_resources(degree, clock)) << degree;
      // Backwards the last piece is the first, the adjoint of a sum is a gather and the reverse: the same order.
      std::swap(clock.experts, clock.experts_backward);
      const Picoseconds backwards = backward.play(clock);
      std::swap(clock.experts, clock.experts_backward);
      EXPECT_EQ(backwards, three_resources(degree, clock)) << degree;
    }
  }
}

// The four closed forms against that order, over 20,000 layers of 2 to 8 pieces. Three of them are lengths of ways through the
// pieces, so no order is faster than the longest of these; the third, 2 r a2a + ag + rs, is an upper estimate of its own case.
TEST(FsMoe, ClosedFormsAgainstTheOrder) {
  std::mt19937_64 random(13);
  std::array<int, 4> points{};
  std::array<int, 4> exact{};
  std::array<double, 4> least{};
  std::array<double, 4> most{};
  for (int point = 0; point < 20'000; ++point) {
    const Clock clock = drawn_clock(random);
    const int degree = static_cast<int>(drawn(random, 2, 8));
    FsMoeLayer layer;
    layer.exchange.alpha = Seconds(static_cast<double>(clock.exchange));
    layer.gather.alpha = Seconds(static_cast<double>(clock.gather));
    layer.reduce_scatter.alpha = Seconds(static_cast<double>(clock.sum));
    layer.experts.alpha = Seconds(static_cast<double>(clock.experts));
    const FsMoeTime closed = fsmoe_time(layer, degree);
    const auto played = static_cast<double>(three_resources(degree, clock));
    const auto c = static_cast<std::size_t>(closed.bound);
    const double deviation = played / closed.time.value() - 1;
    ++points[c];
    exact[c] += deviation == 0 ? 1 : 0;
    least[c] = std::min(least[c], deviation);
    most[c] = std::max(most[c], deviation);
    const double inside = static_cast<double>(clock.gather + clock.sum);
    const auto exchange = static_cast<double>(clock.exchange);
    EXPECT_GE(played,
              std::max({2 * degree * exchange, 2 * exchange + inside + degree * static_cast<double>(clock.experts),
                        2 * exchange + degree * inside}));
  }
  const auto of = [](FsMoeCase bound) { return static_cast<std::size_t>(bound); };
  EXPECT_EQ(points[of(FsMoeCase::kInterBound)], 0);  // without gradients its form is below the third
  const auto exact_share = [&](FsMoeCase bound) { return static_cast<double>(exact[of(bound)]) / points[of(bound)]; };
  EXPECT_GT(exact_share(FsMoeCase::kExpertsBound), 0.85);
  EXPECT_LT(most[of(FsMoeCase::kExpertsBound)], 0.21);
  EXPECT_GT(least[of(FsMoeCase::kExchangeBound)], -0.19);
  EXPECT_LT(least[of(FsMoeCase::kExchangeBound)], -0.1);  // it is an upper estimate
  EXPECT_LT(most[of(FsMoeCase::kExchangeBound)], 0.13);
  EXPECT_GT(exact_share(FsMoeCase::kIntraBound), 0.35);
  EXPECT_LT(most[of(FsMoeCase::kIntraBound)], 0.19);
  EXPECT_EQ(least[of(FsMoeCase::kExpertsBound)] + least[of(FsMoeCase::kIntraBound)], 0);
}

// parm-s2 in r pieces of columns: r dispatches, the experts, and the combines of which each is gathered beside the next. Gathers that
// are faster than exchanges show with the last piece alone.
TEST(ParmS2, GathersHideBehindExchangesButForTheLastPiece) {
  const Testbed bed = testbed(2);
  const LayerCase layer = layer_case(layer_plan(8, 2, 2));
  std::mt19937_64 random(17);
  for (const int degree : {1, 2, 4}) {
    PassUnderClock forward(layer, "parm-s2", degree, BlockKind::kForward, *bed.costs);
    PassUnderClock backward(layer, "parm-s2", degree, BlockKind::kBackward, *bed.costs);
    for (int point = 0; point < 100; ++point) {
      const Clock clock{.exchange = drawn(random, 0, 1000),
                        .gather = drawn(random, 0, 2000),
                        .experts = drawn(random, 0, 2000),
                        .experts_backward = drawn(random, 0, 2000)};
      const Picoseconds out = degree * clock.exchange;
      const Picoseconds back =
          std::max(out + clock.gather, clock.exchange + degree * clock.gather);  // SAA of equal pieces
      EXPECT_EQ(forward.play(clock), out + clock.experts + back) << degree;
      EXPECT_EQ(backward.play(clock), out + clock.experts_backward + back) << degree;
      if (clock.gather <= clock.exchange) {
        EXPECT_EQ(back - out, clock.gather);
      }
    }
  }
}

// With numbers of pieces of their own each pass is its closed form in its own, for what is cut again costs nothing under this clock.
TEST(Pipelines, EachPassIsItsClosedFormInPiecesOfItsOwn) {
  const Testbed bed = testbed(2);
  const LayerCase whole = layer_case(layer_plan(8, 1, 1));
  const LayerCase shards = layer_case(layer_plan(8, 2, 2));
  std::mt19937_64 random(19);
  int pairs = 0;
  for (const int forward : {1, 2, 4, 8})
    for (const int backward : {1, 2, 4, 8}) {
      if (forward == backward) continue;
      ++pairs;
      const auto passes = [&](const LayerCase& layer, std::string_view schedule) {
        return std::pair(PassUnderClock(layer, schedule, forward, BlockKind::kForward, *bed.costs, backward),
                         PassUnderClock(layer, schedule, forward, BlockKind::kBackward, *bed.costs, backward));
      };
      auto pipemoe = passes(whole, "pipemoe");
      auto fsmoe = passes(shards, "fsmoe");
      for (int point = 0; point < 50; ++point) {
        Clock clock = drawn_clock(random);
        clock.experts_backward = drawn(random, 1, 4000);
        const auto closed = [&](Picoseconds experts, int degree) {
          PipeMoeLayer of;
          of.exchange.alpha = Seconds(static_cast<double>(clock.exchange));
          of.experts.alpha = Seconds(static_cast<double>(experts));
          return pipemoe_time(of, degree).value();
        };
        EXPECT_EQ(static_cast<double>(pipemoe.first.play(clock)), closed(clock.experts, forward));
        EXPECT_EQ(static_cast<double>(pipemoe.second.play(clock)), closed(clock.experts_backward, backward));
        // The order of three resources in one piece is that of megatron-a2a: one operation after the other.
        Clock backwards = clock;
        backwards.experts = clock.experts_backward;
        EXPECT_EQ(fsmoe.first.play(clock), three_resources(forward, clock)) << forward;
        EXPECT_EQ(fsmoe.second.play(clock), three_resources(backward, backwards)) << backward;
      }
    }
  EXPECT_EQ(pairs, 12);
}

// In one piece nothing overlaps: the pass is the sum of its operations, at what the testbed's laws make them cost.
TEST(Pipelines, InOnePieceTheyAreTheSerialSum) {
  const Testbed bed = testbed(2);
  for (const auto& [schedule, esp] : {std::pair("pipemoe", 1), std::pair("fsmoe", 2), std::pair("parm-s2", 2)}) {
    const LayerCase layer = layer_case(layer_plan(8, 2, esp));
    auto plan = plan_of_schedule(layer, schedule, LayerBoundary::kWhole).value();
    plan.moe_degree = 1;
    const Program program = lower_layer(layer, plan, {.passes = LayerPasses::kForward}).value();
    const PricedProgram priced = price(program, *bed.costs, {});
    const auto& table = priced.replay.durations[priced.replay.entities.front().durations];
    Picoseconds sum = 0;
    for (const ReplayOp& op : priced.replay.blocks.front().ops) sum += table[op.duration];
    EXPECT_EQ(replay(priced.replay, {}).end, sum) << schedule;
  }
}

// What the two schedules of Parm do away with: TP times the rows between nodes, and TP times the experts' work.
TEST(Parm, TheBaselineSendsAndComputesTpTimesAsMuch) {
  const Testbed bed = testbed(8);
  for (const auto& [tp, esp] : {std::pair(2, 2), std::pair(2, 4), std::pair(4, 1), std::pair(4, 4)}) {
    const LayerCase layer = layer_case(layer_plan(32, tp, esp));
    const LayerResult base = played_layer(layer, "deepspeed-moe", *bed.costs);
    const LayerResult s1 = played_layer(layer, "parm-s1", *bed.costs);
    const LayerResult s2 = played_layer(layer, "parm-s2", *bed.costs);
    const auto between_nodes = [&](const BlockWork& work) { return work.sent_bytes[bed.view->tiers().size() - 1]; };
    // Router and its two gradients: 2 * 1024 wide and as many experts for every token that a rank gates.
    const auto experts = [&](const LayerResult& result, double tokens) {
      return result.flops().value() - 3 * 2 * tokens * 1024 * layer.plan.sizes().ep;
    };
    const double tokens = 2 * 512;
    EXPECT_GT(between_nodes(s1.forward_work), 0);
    for (const LayerResult* parm : {&s1, &s2}) {
      EXPECT_DOUBLE_EQ(between_nodes(base.forward_work), tp * between_nodes(parm->forward_work)) << tp << ' ' << esp;
      EXPECT_DOUBLE_EQ(between_nodes(base.backward_work), tp * between_nodes(parm->backward_work)) << tp << ' ' << esp;
    }
    EXPECT_DOUBLE_EQ(experts(base, esp * tokens), tp * experts(s1, tokens / tp)) << tp << ' ' << esp;
    EXPECT_DOUBLE_EQ(experts(s2, tokens), experts(s1, tokens / tp)) << tp << ' ' << esp;
  }
}

TEST(Parm, WithoutModelParallelismBothAreOneAndWithoutShardsAllAre) {
  const Testbed bed = testbed(2);
  const auto time = [&](const LayerCase& layer, const MoeSchedule& schedule) {
    auto plan = plan_of_schedule(layer, schedule.name(), LayerBoundary::kWhole);
    plan->moe_degree = 1;
    return time_layer(lower_layer(layer, *plan, {}).value(), *bed.costs)->total().value();
  };
  for (const int esp : {1, 2, 4}) {
    const LayerCase layer = layer_case(layer_plan(8, 1, esp));
    EXPECT_EQ(time(layer, **find_moe_schedule("parm-s1")), time(layer, **find_moe_schedule("parm-s2"))) << esp;
  }
  const LayerCase plain = layer_case(layer_plan(8, 1, 1));
  for (const std::string_view name :
       {"parm-s1", "parm-s2", "deepspeed-moe", "deepspeed-v0", "deepspeed-v1", "pipemoe", "fsmoe", "tutel"})
    EXPECT_EQ(time(plain, **find_moe_schedule(name)), time(plain, **find_moe_schedule("megatron-a2a"))) << name;
}

}  // namespace
}  // namespace moesim
