#include "sim/search/span_graph.hpp"

#include <algorithm>
#include <limits>

#include "base/error.hpp"
#include "sim/program/block_dependencies.hpp"

namespace moesim {
namespace {

constexpr double kBeforehand = -std::numeric_limits<double>::infinity();
constexpr auto kCompute = static_cast<std::size_t>(Stream::kCompute);

bool passes_the_turn(Stream stream) { return stream == Stream::kEp; }

// Which computations begin a node: those that wait for communication or for the awaited tensor, those after one that
// communication waits for, and those after a turn is passed.
class RunFinder {
 public:
  RunFinder(std::span<const Op> ops, TensorId awaited)
      : ops_(ops), awaited_(awaited), deps_(block_dependencies(ops)), begins_(ops.size()) {}

  void find() {
    std::vector<bool> ends(ops_.size());
    for (std::size_t i = 0; i < ops_.size(); ++i) {
      if (std::ranges::find(ops_[i].inputs, awaited_) != ops_[i].inputs.end()) begins_[i] = true;
      for (const std::uint32_t dep : deps(i)) {
        const bool waits = is_compute(i) && !is_compute(dep);
        const bool feeds = !is_compute(i) && is_compute(dep);
        if (waits) begins_[i] = true;
        if (feeds) ends[dep] = true;
      }
    }
    bool next_begins = true;
    for (std::size_t i = 0; i < ops_.size(); ++i) {
      if (passes_the_turn(ops_[i].stream)) next_begins = true;
      if (!is_compute(i)) continue;
      if (next_begins) begins_[i] = true;
      next_begins = ends[i];
    }
  }

  [[nodiscard]] bool is_compute(std::size_t i) const { return ops_[i].stream == Stream::kCompute; }
  [[nodiscard]] bool begins(std::size_t i) const { return begins_[i]; }
  [[nodiscard]] std::span<const std::uint32_t> deps(std::size_t i) const { return deps_.of(i); }

 private:
  std::span<const Op> ops_;
  TensorId awaited_;
  BlockDependencies deps_;
  std::vector<bool> begins_;
};

}  // namespace

SpanGraph::SpanGraph(std::span<const Op> ops, TensorId awaited) {
  RunFinder runs(ops, awaited);
  runs.find();
  std::vector<std::vector<std::uint16_t>> deps;
  std::uint16_t run = 0;
  node_of_.resize(ops.size());
  for (std::size_t i = 0; i < ops.size(); ++i) {
    if (!runs.is_compute(i) || runs.begins(i)) {
      MOESIM_ASSERT(nodes_.size() < 0xFFFF);
      node_of_[i] = static_cast<std::uint16_t>(nodes_.size());
      nodes_.push_back({0, 0, ops[i].stream, false});
      deps.emplace_back();
      if (runs.is_compute(i)) run = node_of_[i];
    } else {
      node_of_[i] = run;
    }
    const std::uint16_t own = node_of_[i];
    if (awaited.valid() && std::find(ops[i].inputs.begin(), ops[i].inputs.end(), awaited) != ops[i].inputs.end())
      nodes_[own].after_awaited = true;
    for (const std::uint32_t dep : runs.deps(i)) {
      const std::uint16_t of = node_of_[dep];
      if (of == own) continue;
      if (nodes_[of].after_awaited) nodes_[own].after_awaited = true;
      // Computations follow each other anyhow.
      const bool needed = !runs.is_compute(i) || !runs.is_compute(dep);
      if (needed && std::find(deps[own].begin(), deps[own].end(), of) == deps[own].end()) deps[own].push_back(of);
    }
  }
  for (std::size_t node = 0; node < nodes_.size(); ++node) {
    nodes_[node].first_dep = static_cast<std::uint32_t>(deps_.size());
    nodes_[node].deps = static_cast<std::uint16_t>(deps[node].size());
    deps_.insert(deps_.end(), deps[node].begin(), deps[node].end());
  }
}

void SpanGraph::fold(std::span<const double> op_seconds, std::span<double> node_seconds) const {
  std::fill(node_seconds.begin(), node_seconds.end(), 0.0);
  for (std::size_t i = 0; i < node_of_.size(); ++i) node_seconds[node_of_[i]] += op_seconds[i];
}

void SpanPlayer::reset(double drag) {
  drag_ = drag;
  busy_ = 0;
  marks_.clear();
  streams_.fill({kBeforehand, kBeforehand});
  streams_[kCompute] = {0, 0};
}

void SpanPlayer::step(const SpanGraph& graph, std::size_t index, double seconds, std::size_t base) {
  const SpanGraph::Node& node = graph.nodes_[index];
  Mark& stream = streams_[static_cast<std::size_t>(node.stream)];
  Mark mark = stream;
  for (std::uint32_t i = 0; i < node.deps; ++i) {
    const Mark& dep = marks_[base + graph.deps_[node.first_dep + i]];
    mark.end = std::max(mark.end, dep.end);
    mark.ahead = std::max(mark.ahead, dep.ahead);
  }
  if (node.stream == Stream::kCompute) {
    const double start = std::max(mark.end, mark.ahead + busy_);
    mark = {start + seconds, start - busy_};
    busy_ += seconds;
  } else {
    mark.end += seconds;
    mark.ahead += drag_ * seconds;
  }
  stream = mark;
  marks_[base + index] = mark;
}

BlockSpan SpanPlayer::play(PassPart part, double drag) {
  reset(drag);
  BlockSpan result;
  const std::size_t size = part.graph->size();
  marks_.resize(size);
  bool still_ahead = std::any_of(part.graph->nodes_.begin(), part.graph->nodes_.end(),
                                 [](const SpanGraph::Node& node) { return node.after_awaited; });
  for (std::size_t node = 0; node < size; ++node) {
    step(*part.graph, node, part.seconds[node], 0);
    const SpanGraph::Node& played = part.graph->nodes_[node];
    if (played.stream == Stream::kEp) result.exchange += part.seconds[node];
    if (played.stream != Stream::kCompute) continue;
    // From the first computation on that needs the awaited tensor, later ones queue behind it on the stream.
    if (played.after_awaited) still_ahead = false;
    if (still_ahead) result.head_start = marks_[node].end;
  }
  result.span = streams_[kCompute].end;
  result.busy = busy_;
  return result;
}

// Goes through the nodes of one of the two passes.
class SpanPlayer::Half {
 public:
  Half(SpanPlayer& player, std::span<const PassPart> parts) : player_(player), parts_(parts) { enter(); }

  [[nodiscard]] bool done() const { return part_ == parts_.size(); }
  [[nodiscard]] double end() const { return end_; }

  // One turn: up to and with the next expert exchange.
  void take_turn() {
    while (!done()) {
      const PassPart& part = parts_[part_];
      const Stream stream = part.graph->nodes_[node_].stream;
      player_.step(*part.graph, node_, part.seconds[node_], base_);
      if (stream == Stream::kCompute && part.hands_on) end_ = player_.streams_[kCompute].end;
      if (++node_ == part.graph->size()) {
        ++part_;
        enter();
      }
      if (passes_the_turn(stream)) return;
    }
  }

 private:
  void enter() {
    while (!done() && parts_[part_].graph->size() == 0) ++part_;
    node_ = 0;
    if (done()) return;
    base_ = player_.marks_.size();
    player_.marks_.resize(base_ + parts_[part_].graph->size());
  }

  SpanPlayer& player_;
  std::span<const PassPart> parts_;
  std::size_t part_ = 0;
  std::size_t node_ = 0;
  std::size_t base_ = 0;
  double end_ = 0;
};

PairSpan SpanPlayer::play_pair(std::span<const PassPart> forward, std::span<const PassPart> backward, double drag) {
  reset(drag);
  Half first(*this, forward);
  Half second(*this, backward);
  double first_turn = -1;
  while (!first.done() || !second.done()) {
    first.take_turn();
    if (first_turn < 0) first_turn = streams_[kCompute].end;
    second.take_turn();
  }
  return {streams_[kCompute].end, first.end(), second.end(), std::max(0.0, first_turn)};
}

}  // namespace moesim
