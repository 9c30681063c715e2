#include "sim/search/bound.hpp"

#include <gtest/gtest.h>

#include "sim/search/block_span.hpp"

namespace moesim {
namespace {

Op op(OpKind kind, Stream stream, OperandList inputs, OperandList outputs) {
  Op result;
  result.kind = kind;
  result.stream = stream;
  result.inputs = inputs;
  result.outputs = outputs;
  return result;
}

TEST(BlockSpan, ComputeWaitsForCommunicationInBetween) {
  // compute 1 -> dispatch 5 -> compute 2, and compute 3 beside the dispatch: 1 + max(5, 3) + 2.
  const std::vector<Op> ops = {op(OpKind::kAdd, Stream::kCompute, {}, {TensorId(0)}),
                               op(OpKind::kDispatch, Stream::kEp, {TensorId(0)}, {TensorId(1)}),
                               op(OpKind::kAdd, Stream::kCompute, {TensorId(0)}, {TensorId(2)}),
                               op(OpKind::kAdd, Stream::kCompute, {TensorId(1)}, {TensorId(3)})};
  const std::vector<double> seconds = {1, 5, 3, 2};
  const BlockSpan span = block_span(ops, seconds, TensorId());
  EXPECT_DOUBLE_EQ(span.span, 8);
  EXPECT_DOUBLE_EQ(span.busy, 6);
}

TEST(BlockSpan, CommunicationThatWaitsForNothingIsDoneBeforehand) {
  const std::vector<Op> ops = {op(OpKind::kAllGather, Stream::kTp, {TensorId(0)}, {TensorId(1)}),
                               op(OpKind::kAdd, Stream::kCompute, {TensorId(1)}, {TensorId(2)})};
  const std::vector<double> seconds = {7, 2};
  EXPECT_DOUBLE_EQ(block_span(ops, seconds, TensorId()).span, 2);
}

TEST(BlockSpan, HeadStartEndsWhereTheAwaitedTensorIsRead) {
  const std::vector<Op> ops = {op(OpKind::kAdd, Stream::kCompute, {}, {TensorId(1)}),
                               op(OpKind::kAdd, Stream::kCompute, {TensorId(0)}, {TensorId(2)}),
                               op(OpKind::kAdd, Stream::kCompute, {TensorId(1)}, {TensorId(3)})};
  const std::vector<double> seconds = {4, 1, 1};
  EXPECT_DOUBLE_EQ(block_span(ops, seconds, TensorId(0)).head_start, 4);
}

// Four equal stages, F = 1, B = 2, eight micro-batches: (8 + 3) * 3 = 33.
CutModel equal_stages() {
  CutModel cut;
  cut.stages = 4;
  cut.parameters.resize(4);
  for (int stage = 0; stage < 4; ++stage) {
    PassTimes pass;
    pass.forward = pass.forward_busy = 1;
    pass.backward = pass.backward_busy = 2;
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
  EXPECT_DOUBLE_EQ(step_time_bound({&cut, &none, 8, false, false}), 33);
}

TEST(Bound, SynchronisationCountsWithWhatStandsOut) {
  const CutModel cut = equal_stages();
  SyncTimes sync(4);
  sync.grad_norm = 0.25;
  for (double& time : sync.optimizer) time = 0.5;
  // Reductions of stage 0 may start with its last backward pass, which ends at 33: 1.5 hide, 3 stand out by 1.
  for (double& time : sync.reduce_once) time = 1.5;
  EXPECT_DOUBLE_EQ(step_time_bound({&cut, &sync, 8, false, false}), 33.75);
  for (double& time : sync.reduce_once) time = 12;
  // Stage 3: starts at 3, works 24, and 12 - 2 stand out after its own end at 27: 37.
  EXPECT_DOUBLE_EQ(step_time_bound({&cut, &sync, 8, false, false}), 37.75);
}

TEST(Bound, ZeroThreeKeepsTheNetworkBusyInEveryPass) {
  const CutModel cut = equal_stages();
  SyncTimes sync(4);
  for (double& time : sync.gather_each) time = 3;
  for (double& time : sync.reduce_each) time = 2;
  EXPECT_DOUBLE_EQ(step_time_bound({&cut, &sync, 8, false, false}), 8 * (2 + 2 * 3));
}

}  // namespace
}  // namespace moesim
