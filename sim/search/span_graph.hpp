// How long a pass takes at least when nothing else runs, whatever the engine's contention makes of it.
//
// A SpanGraph is a list of operations in which runs of computation that no communication interrupts are one node; layers
// of one kind share it and differ only in the seconds of its nodes. The SpanPlayer walks graphs in issue order: streams in
// order, a node after those it depends on. Two effects are counted, each a lower bound of what the engine does:
//   - waiting: a node starts no earlier than what it depends on has ended;
//   - drag: computation beside communication is slowed by s, so a window from the end of computation p to the start of
//     computation q that contains communication c whole (p -> c -> q) and computation b takes at least b + (1 - 1/s) c.
// Worked: p 1 -> c 5 -> q 2 with b = 3 beside c, drag 0.2: q starts at 1 + max(5, 3 + 0.2 * 5) = 6 and ends at 8.
// Communication that waits for no computation of the list counts as done beforehand.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "sim/program/program.hpp"

namespace moesim {

class SpanGraph {
 public:
  // `awaited`: the tensor that arrives last (a gradient from the next layer), or invalid.
  explicit SpanGraph(std::span<const Op> ops, TensorId awaited = {});

  [[nodiscard]] std::size_t size() const { return nodes_.size(); }
  // Seconds by node from the seconds by operation.
  void fold(std::span<const double> op_seconds, std::span<double> node_seconds) const;

 private:
  friend class SpanPlayer;
  struct Node {
    std::uint32_t first_dep = 0;  // into deps_
    std::uint16_t deps = 0;
    Stream stream = Stream::kCompute;
    bool after_awaited = false;
  };
  std::vector<Node> nodes_;
  std::vector<std::uint16_t> deps_;     // earlier nodes
  std::vector<std::uint16_t> node_of_;  // by operation
};

// A graph with the seconds of its nodes: one layer of a pass.
struct PassPart {
  const SpanGraph* graph = nullptr;
  const double* seconds = nullptr;
  bool hands_on = true;  // the next stage waits for it; it does not for weight gradients
};

struct BlockSpan {
  double span = 0;      // from the start of the first computation to the end of the last
  double busy = 0;      // computation alone
  double exchange = 0;  // expert dispatch and combine: always between two computations
  // Computation before the first that depends on `awaited` (0 when nothing is awaited).
  double head_start = 0;
};

// Two passes that take turns (lower/pair_blocks.hpp).
struct PairSpan {
  double span = 0;
  double forward_end = 0;  // end of the last computation of each half that the next stage waits for
  double backward_end = 0;
  double first_turn =
      0;  // end of what the forward half computes before the backward half begins, which may wait for so long
};

// Keeps its scratch memory between calls.
class SpanPlayer {
 public:
  [[nodiscard]] BlockSpan play(PassPart part, double drag);
  [[nodiscard]] PairSpan play_pair(std::span<const PassPart> forward, std::span<const PassPart> backward, double drag);

 private:
  class Half;
  void reset(double drag);
  void step(const SpanGraph& graph, std::size_t node, double seconds, std::size_t base);

  struct Mark {
    double end = 0;
    // What the clock is ahead of the computation done by then, at least: the idle and dragged time before it.
    double ahead = 0;
  };
  std::vector<Mark> marks_;  // by node, part after part
  std::array<Mark, kStreams> streams_{};
  double busy_ = 0;
  double drag_ = 0;
};

}  // namespace moesim
