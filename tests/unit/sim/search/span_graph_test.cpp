#include "sim/search/span_graph.hpp"

#include <gtest/gtest.h>

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

Op compute(OperandList inputs, OperandList outputs) { return op(OpKind::kAdd, Stream::kCompute, inputs, outputs); }
Op exchange(OperandList inputs, OperandList outputs) { return op(OpKind::kDispatch, Stream::kEp, inputs, outputs); }

BlockSpan span(const std::vector<Op>& ops, const std::vector<double>& seconds, double drag = 0, TensorId awaited = {}) {
  const SpanGraph graph(ops, awaited);
  std::vector<double> nodes(graph.size());
  graph.fold(seconds, nodes);
  return SpanPlayer().play({&graph, nodes.data()}, drag);
}

// compute 1 -> dispatch 5 -> compute 2, and compute 3 beside the dispatch.
const std::vector<Op> kBeside = {compute({}, {TensorId(0)}), exchange({TensorId(0)}, {TensorId(1)}),
                                 compute({TensorId(0)}, {TensorId(2)}), compute({TensorId(1)}, {TensorId(3)})};

TEST(SpanGraph, ComputationWaitsForCommunicationInBetween) {
  const BlockSpan result = span(kBeside, {1, 5, 3, 2});
  EXPECT_DOUBLE_EQ(result.span, 1 + 5 + 2);
  EXPECT_DOUBLE_EQ(result.busy, 6);
  EXPECT_DOUBLE_EQ(result.exchange, 5);
}

TEST(SpanGraph, CommunicationDragsWhatComputesBesideIt) {
  // 4 s of work beside a dispatch of 5 s that takes a fifth of the device: 4 + 0.2 * 5, just as long as the dispatch.
  EXPECT_DOUBLE_EQ(span(kBeside, {1, 5, 4, 2}, 0.2).span, 1 + 5 + 2);
  // With 6 s of work it is the longer: 6 + 1.
  EXPECT_DOUBLE_EQ(span(kBeside, {1, 5, 6, 2}, 0.2).span, 1 + 7 + 2);
}

TEST(SpanGraph, CommunicationThatWaitsForNothingIsDoneBeforehand) {
  const std::vector<Op> ops = {op(OpKind::kAllGather, Stream::kTp, {TensorId(0)}, {TensorId(1)}),
                               compute({TensorId(1)}, {TensorId(2)})};
  EXPECT_DOUBLE_EQ(span(ops, {7, 2}, 0.5).span, 2);
}

TEST(SpanGraph, HeadStartEndsWhereTheAwaitedTensorIsRead) {
  const std::vector<Op> ops = {compute({}, {TensorId(1)}), compute({TensorId(0)}, {TensorId(2)}),
                               compute({TensorId(1)}, {TensorId(3)})};
  const BlockSpan result = span(ops, {4, 1, 1}, 0, TensorId(0));
  EXPECT_DOUBLE_EQ(result.head_start, 4);
  EXPECT_DOUBLE_EQ(result.span, 6);
}

TEST(SpanGraph, JoinsComputationThatNothingInterrupts) {
  // The second and third computation run through; the last waits for the exchange.
  const std::vector<Op> ops = {compute({}, {TensorId(0)}), exchange({TensorId(0)}, {TensorId(1)}),
                               compute({}, {TensorId(2)}), compute({TensorId(2)}, {TensorId(3)}),
                               compute({TensorId(1)}, {TensorId(4)})};
  EXPECT_EQ(SpanGraph(ops).size(), 4U);
}

TEST(SpanPlayer, PassesTakeTurnsAtTheirExchanges) {
  // Each half: computation of 2, an exchange, computation of 3. Played 2 | 2 | 3 | 3: while the one computes, the other's
  // tokens travel. An exchange of 2 hides; one of 4 stands out by 2 in the first half: 2 + max(2, 4) + 3, and the second
  // exchange, behind the first on its stream, ends at 2 + 4 + 4 = 10: 10 + 3.
  const std::vector<Op> ops = {compute({}, {TensorId(0)}), exchange({TensorId(0)}, {TensorId(1)}),
                               compute({TensorId(1)}, {TensorId(2)})};
  const SpanGraph graph(ops);
  SpanPlayer player;
  const std::vector<double> hidden = {2, 2, 3};
  const PassPart part{&graph, hidden.data()};
  const PairSpan all = player.play_pair(std::span(&part, 1), std::span(&part, 1), 0);
  EXPECT_DOUBLE_EQ(all.span, 10);
  EXPECT_DOUBLE_EQ(all.forward_end, 7);
  EXPECT_DOUBLE_EQ(all.backward_end, 10);
  const std::vector<double> exposed = {2, 4, 3};
  const PassPart slow{&graph, exposed.data()};
  EXPECT_DOUBLE_EQ(player.play_pair(std::span(&slow, 1), std::span(&slow, 1), 0).span, 13);
}

TEST(SpanPlayer, WeightGradientsAreNotHandedOn) {
  const std::vector<Op> ops = {compute({}, {TensorId(0)})};
  const SpanGraph graph(ops);
  const double seconds = 2;
  const std::vector<PassPart> backward = {{&graph, &seconds}, {&graph, &seconds, false}};
  const PairSpan pair = SpanPlayer().play_pair({}, backward, 0);
  EXPECT_DOUBLE_EQ(pair.span, 4);
  EXPECT_DOUBLE_EQ(pair.backward_end, 2);
}

}  // namespace
}  // namespace moesim
