#include "sim/search/block_span.hpp"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <vector>

namespace moesim {
namespace {

constexpr double kBeforehand = -1;  // end of what waits for no computation here

}  // namespace

BlockSpan block_span(std::span<const Op> ops, std::span<const double> seconds, TensorId awaited) {
  BlockSpan result;
  std::vector<double> ends(ops.size());
  std::vector<bool> after_awaited(ops.size(), false);
  std::unordered_map<std::int32_t, std::size_t> producer;
  std::array<double, kStreams> stream_end;
  stream_end.fill(kBeforehand);
  double compute_end = 0;
  bool still_ahead = awaited.valid();
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const Op& op = ops[i];
    double start = stream_end[static_cast<std::size_t>(op.stream)];
    const auto wait_for = [&](std::size_t dep) {
      start = std::max(start, ends[dep]);
      after_awaited[i] = after_awaited[i] || after_awaited[dep];
    };
    for (const TensorId id : op.inputs) {
      if (id == awaited) after_awaited[i] = true;
      if (const auto found = producer.find(id.value()); found != producer.end()) wait_for(found->second);
    }
    if (op.after >= 0) wait_for(static_cast<std::size_t>(op.after));
    if (op.stream == Stream::kCompute) {
      start = std::max(start, compute_end);
      ends[i] = compute_end = start + seconds[i];
      result.busy += seconds[i];
      // From the first operation on that needs the awaited tensor, later ones queue behind it on the stream.
      if (after_awaited[i]) still_ahead = false;
      if (still_ahead) result.head_start = compute_end;
    } else {
      if (op.stream == Stream::kEp) result.exchange += seconds[i];
      ends[i] = start == kBeforehand ? kBeforehand : start + seconds[i];
    }
    stream_end[static_cast<std::size_t>(op.stream)] = ends[i];
    for (const TensorId id : op.outputs) producer[id.value()] = i;
  }
  result.span = compute_end;
  return result;
}

}  // namespace moesim
