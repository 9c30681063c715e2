#include "sim/search/bound.hpp"

#include <gtest/gtest.h>

namespace moesim {
namespace {

// Four equal stages, F = 1, B = 2, eight micro-batches: (8 + 3) * 3 = 33.
CutModel equal_stages() {
  CutModel cut;
  cut.stages = 4;
  cut.parameters.resize(4);
  for (int stage = 0; stage < 4; ++stage) {
    PassTimes pass;
    pass.forward = 1;
    pass.backward = 2;
    cut.passes.push_back(pass);
    cut.stage_of.push_back(stage);
    cut.first_reach.push_back(stage * 1.0);
    cut.last_leave.push_back(stage * 2.0);
  }
  return cut;
}

TEST(Bound, EqualStages) {
  const CutModel cut = equal_stages();
  const SyncTimes none(4);
  EXPECT_DOUBLE_EQ(step_time_bound({&cut, &none, 8, false}), 33);
}

TEST(Bound, PairsReplaceTheirPassesWhereTheyAreShorter) {
  // Two stages, two copies: chunks 0 and 3 on stage 0, 1 and 2 on stage 1, four micro-batches per copy. A forward and a
  // backward pass take 3 one after the other, 2.5 together: 2 chunks * 4 * 2.5 = 20, and 24 where a pair would take longer.
  CutModel cut;
  cut.stages = 2;
  cut.copies = 2;
  cut.parameters.resize(2);
  cut.stage_of = {0, 1, 1, 0};
  cut.first_reach = cut.last_leave = {0, 0};
  for (int chunk = 0; chunk < 4; ++chunk) {
    PassTimes pass;
    pass.forward = 1;
    pass.backward = 2;
    cut.passes.push_back(pass);
    cut.pairs.push_back({2.5, 1.5, 2.25});
  }
  const SyncTimes none(2);
  EXPECT_DOUBLE_EQ(step_time_bound({&cut, &none, 8, false}), 20);
  for (PairSpan& pair : cut.pairs) pair.span = 4;
  EXPECT_DOUBLE_EQ(step_time_bound({&cut, &none, 8, false}), 24);
}

TEST(Bound, SynchronisationCountsWithWhatStandsOut) {
  const CutModel cut = equal_stages();
  SyncTimes sync(4);
  sync.grad_norm = 0.25;
  for (double& time : sync.optimizer) time = 0.5;
  // Reductions of stage 0 may start with its last backward pass, which ends at 33: 1.5 hide, 3 stand out by 1.
  for (double& time : sync.reduce_once) time = 1.5;
  EXPECT_DOUBLE_EQ(step_time_bound({&cut, &sync, 8, false}), 33.75);
  for (double& time : sync.reduce_once) time = 12;
  // Stage 3: starts at 3, works 24, and 12 - 2 stand out after its own end at 27: 37.
  EXPECT_DOUBLE_EQ(step_time_bound({&cut, &sync, 8, false}), 37.75);
}

TEST(Bound, ZeroThreeKeepsTheNetworkBusyInEveryPass) {
  const CutModel cut = equal_stages();
  SyncTimes sync(4);
  for (double& time : sync.gather_each) time = 3;
  for (double& time : sync.reduce_each) time = 2;
  EXPECT_DOUBLE_EQ(step_time_bound({&cut, &sync, 8, false}), 8 * (2 + 2 * 3));
}

}  // namespace
}  // namespace moesim
