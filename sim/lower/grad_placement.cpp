#include "sim/lower/grad_placement.hpp"

#include <deque>

namespace moesim {
namespace {

// The last exchange that takes a MoE layer's gradients to its experts, by layer in the order of the pass: behind it the network
// waits until the first of them has been computed.
std::vector<std::size_t> gaps_of(const std::vector<Op>& ops) {
  std::vector<std::size_t> gaps;
  LayerId layer;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    if (ops[i].kind != OpKind::kDispatch || ops[i].phase != Phase::kBackwardInput) continue;
    if (!gaps.empty() && ops[i].layer == layer) gaps.pop_back();
    gaps.push_back(i);
    layer = ops[i].layer;
  }
  return gaps;
}

bool is_reduction(const Op& op) { return op.kind == OpKind::kReduceGrads && op.stream == Stream::kDp; }

}  // namespace

void place_between_exchanges(std::vector<Op>& ops) {
  // The order of the operations that results, by their places now.
  std::vector<std::size_t> order;
  const std::vector<std::size_t> gaps = gaps_of(ops);
  std::deque<std::size_t> ready;
  std::size_t next_gap = 0;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    if (is_reduction(ops[i]) && next_gap < gaps.size()) {
      ready.push_back(i);
      continue;
    }
    order.push_back(i);
    if (next_gap == gaps.size() || i != gaps[next_gap]) continue;
    ++next_gap;
    if (!ready.empty()) {
      order.push_back(ready.front());
      ops[ready.front()].stream = Stream::kEp;
      ready.pop_front();
    }
    if (next_gap == gaps.size()) order.insert(order.end(), ready.begin(), ready.end());
  }
  std::vector<std::int32_t> moved_to(ops.size());
  std::vector<Op> result;
  for (const std::size_t from : order) {
    moved_to[from] = static_cast<std::int32_t>(result.size());
    result.push_back(ops[from]);
    // What an operation waits for stands before it: reductions move only backwards, and nothing waits for them (ZeRO below 2).
    if (result.back().after >= 0) result.back().after = moved_to[static_cast<std::size_t>(result.back().after)];
  }
  ops = std::move(result);
}

}  // namespace moesim
