#include "sim/search/bound.hpp"

#include <algorithm>
#include <limits>

namespace moesim {
namespace {

double backward_of(const PassTimes& pass, bool split) {
  return split ? pass.backward_input + pass.backward_weight : pass.backward;
}

// Gradients that leave a chunk have at least passed this after they arrived.
double gradient_passage(const PassTimes& pass, bool split) {
  return (split ? pass.backward_input : pass.backward) - pass.backward_head_start;
}

// From the end of a stage's last pass to the end of its reductions, which start with that pass at the earliest. With several
// chunks on a stage the others' reductions may be long done.
double sync_tail(const BoundInput& input, std::size_t stage, double last_backward) {
  if (input.cut->passes.size() > input.cut->parameters.size()) return 0;
  return std::max(0.0, input.sync->reduce_once[stage] - last_backward);
}

}  // namespace

CutModel cut_model(const LayerTable& table, Recompute recompute, const ModelShape& model,
                   const PipelineSchedule& schedule, const PipelineShape& shape,
                   const std::vector<int>& layers_per_chunk, double transfer) {
  CutModel cut;
  cut.stages = shape.stages;
  cut.copies = schedule.model_copies();
  const std::size_t per_copy = layers_per_chunk.size();
  cut.parameters.resize(static_cast<std::size_t>(shape.stages));
  for (int copy = 0; copy < cut.copies; ++copy) {
    int layer = 0;
    for (std::size_t i = 0; i < per_copy; ++i) {
      const int stage =
          schedule.stage_of(static_cast<std::int32_t>(copy * static_cast<int>(per_copy) + static_cast<int>(i)), shape);
      PassTimes pass;
      PartParameters& held = cut.parameters[static_cast<std::size_t>(stage)];
      if (i == 0) {
        pass += table.embedding(recompute);
        held += table.embedding_parameters();
      }
      for (int k = 0; k < layers_per_chunk[i]; ++k, ++layer) {
        pass += table.layer(recompute, layer);
        held += table.layer_parameters(layer);
      }
      if (i + 1 == per_copy) {
        pass += table.head(recompute);
        if (!(model.tied_embeddings && per_copy == 1)) held += table.head_parameters();
      }
      cut.passes.push_back(pass);
      cut.stage_of.push_back(stage);
    }
  }
  const auto forever = std::numeric_limits<double>::infinity();
  cut.first_reach.assign(cut.parameters.size(), forever);
  cut.last_leave.assign(cut.parameters.size(), forever);
  for (std::size_t copy = 0; copy < static_cast<std::size_t>(cut.copies); ++copy) {
    double before = 0;
    double after = 0;
    for (std::size_t i = 0; i < per_copy; ++i) {
      const std::size_t chunk = copy * per_copy + i;
      const auto stage = static_cast<std::size_t>(cut.stage_of[chunk]);
      const double hop = i + 1 < per_copy && cut.stage_of[chunk + 1] != cut.stage_of[chunk] ? transfer : 0;
      const double hop_back = i > 0 && cut.stage_of[chunk - 1] != cut.stage_of[chunk] ? transfer : 0;
      cut.first_reach[stage] = std::min(cut.first_reach[stage], before);
      before += cut.passes[chunk].forward + hop;
      // The gradient that leaves this chunk still passes all chunks before it.
      cut.last_leave[stage] = std::min(cut.last_leave[stage], after + hop_back);
      after +=
          std::min(gradient_passage(cut.passes[chunk], true), gradient_passage(cut.passes[chunk], false)) + hop_back;
    }
  }
  return cut;
}

namespace {

// The parts of a chunk's passes, in the order in which they run.
struct ChunkParts {
  std::vector<PassPart> forward;
  std::vector<PassPart> backward;
};

ChunkParts parts_of_chunk(const LayerTable& table, Recompute recompute, const std::vector<int>& layers_per_chunk,
                          std::size_t position, bool split) {
  std::vector<PassParts> pieces;
  if (position == 0) pieces.push_back(table.embedding_parts(recompute));
  int layer = 0;
  for (std::size_t i = 0; i < position; ++i) layer += layers_per_chunk[i];
  for (int k = 0; k < layers_per_chunk[position]; ++k) pieces.push_back(table.layer_parts(recompute, layer + k));
  if (position + 1 == layers_per_chunk.size()) pieces.push_back(table.head_parts(recompute));
  ChunkParts parts;
  for (const PassParts& piece : pieces) parts.forward.push_back(piece.forward);
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece)
    parts.backward.push_back(split ? piece->backward_input : piece->backward);
  for (auto piece = pieces.rbegin(); split && piece != pieces.rend(); ++piece)
    parts.backward.push_back(piece->backward_weight);
  return parts;
}

}  // namespace

ChunkPairs chunk_pairs(const CompiledPipeline& pipeline) {
  ChunkPairs pairs;
  for (const Slot& slot : pipeline.slots)
    if (slot.kind == SlotKind::kForwardBackward) pairs.emplace_back(slot.chunk, slot.backward_chunk);
  std::sort(pairs.begin(), pairs.end());
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  return pairs;
}

void pair_passes(CutModel& cut, const LayerTable& table, Recompute recompute, const PipelineSchedule& schedule,
                 const ChunkPairs& meet, PairDetail detail, const std::vector<int>& layers_per_chunk, double drag,
                 SpanPlayer& player) {
  cut.pairs.resize(cut.passes.size());
  cut.runs_on.assign(cut.passes.size(), 0);
  cut.may_wait.assign(cut.passes.size(), 0);
  const bool played = detail == PairDetail::kPlayed ||
                      std::adjacent_find(meet.begin(), meet.end(),
                                         [](const auto& a, const auto& b) { return a.first == b.first; }) == meet.end();
  std::vector<ChunkParts> parts;
  for (std::size_t i = 0; played && i < layers_per_chunk.size(); ++i)
    parts.push_back(parts_of_chunk(table, recompute, layers_per_chunk, i, schedule.splits_backward()));
  std::vector<bool> known(cut.pairs.size(), false);
  for (const auto& [forward, backward] : meet) {
    const auto own = static_cast<std::size_t>(forward);
    const auto other = static_cast<std::size_t>(backward);
    PairSpan pair;
    if (played) {
      pair = player.play_pair(parts[own % parts.size()].forward, parts[other % parts.size()].backward, drag);
    } else {
      pair.forward_end = cut.passes[own].forward_busy;
      pair.backward_end = cut.passes[other].backward_busy;
      pair.span = pair.forward_end + pair.backward_end;
    }
    cut.may_wait[other] = std::max(cut.may_wait[other], pair.first_turn);
    cut.runs_on[other] = std::max(cut.runs_on[other], pair.span - pair.backward_end);
    // The least of the spans, handed on as early as in any of them.
    PairSpan& least = cut.pairs[own];
    if (!known[own]) {
      least = pair;
    } else {
      const double runs_on = std::max(least.span - least.forward_end, pair.span - pair.forward_end);
      least.span = std::min(least.span, pair.span);
      least.forward_end = least.span - runs_on;
    }
    known[own] = true;
  }
  // One that no slot of the pipeline pairs runs alone.
  for (std::size_t own = 0; own < known.size(); ++own)
    if (!known[own]) {
      const double span = cut.passes[own].forward;
      cut.pairs[own] = {span, span, span, 0};
    }
}

double step_time_bound(const BoundInput& input) {
  const CutModel& cut = *input.cut;
  const double m = input.micro_batches / cut.copies;
  double longest = 0;
  double optimizer = 0;
  for (std::size_t stage = 0; stage < cut.parameters.size(); ++stage) {
    double work = 0;
    double pairs = 0;
    double first_forward = std::numeric_limits<double>::infinity();
    double last_backward = 0;
    for (std::size_t chunk = 0; chunk < cut.passes.size(); ++chunk) {
      if (static_cast<std::size_t>(cut.stage_of[chunk]) != stage) continue;
      const PassTimes& pass = cut.passes[chunk];
      const double backward = backward_of(pass, input.split_backward);
      work += m * (pass.forward + backward);
      if (!cut.pairs.empty()) pairs += m * cut.pairs[chunk].span;
      first_forward = std::min(first_forward, pass.forward);
      last_backward = std::max(last_backward, backward + pass.backward_head_start);
    }
    if (!cut.pairs.empty()) work = std::min(work, pairs);
    // The last operation of the first forward pass waits for the last parameters; with several chunks the first needs few.
    double start = cut.first_reach[stage];
    if (cut.passes.size() == cut.parameters.size())
      start = std::max(start, input.sync->gather_once[stage] - first_forward);
    double time = start + work;
    if (!input.split_backward && cut.pairs.empty()) time += cut.last_leave[stage];
    // The data-parallel stream is busy for at least this, once per forward and once per backward pass.
    time = std::max(time, m * (input.sync->reduce_each[stage] + 2 * input.sync->gather_each[stage]));
    // Reductions start with the last backward pass at the earliest; `work` has all of it behind itself.
    time = std::max(time, start + work + sync_tail(input, stage, last_backward));
    time = std::max(time, start + work + input.sync->drag * input.sync->reduce_once[stage]);
    longest = std::max(longest, time + input.sync->copy_sums[stage]);
    optimizer = std::max(optimizer, input.sync->optimizer[stage]);
  }
  return longest + input.sync->grad_norm + optimizer;
}

double played_bound(const BoundInput& input, const CompiledPipeline& pipeline, double transfer, SlotPlayer& player) {
  const CutModel& cut = *input.cut;
  SlotTimes times;
  const std::size_t per_copy = cut.passes.size() / static_cast<std::size_t>(cut.copies);
  for (std::size_t chunk = 0; chunk < cut.passes.size(); ++chunk) {
    const PassTimes& pass = cut.passes[chunk];
    times.forward.push_back(pass.forward);
    times.backward.push_back(backward_of(pass, input.split_backward));
    times.backward_input.push_back(pass.backward_input);
    times.backward_weight.push_back(pass.backward_weight);
    times.send_forward.push_back(transfer);
    // A gradient may come late by what the receiver recomputes without it, and by what it computes of another pass before.
    double head_start = chunk % per_copy > 0 ? cut.passes[chunk - 1].backward_head_start : 0;
    if (chunk % per_copy > 0 && !cut.may_wait.empty()) head_start += cut.may_wait[chunk - 1];
    times.send_backward.push_back(transfer - head_start);
  }
  for (std::size_t chunk = 0; chunk < cut.pairs.size(); ++chunk) {
    const PairSpan& pair = cut.pairs[chunk];
    times.pair.push_back(pair.span);
    // Either half of a pair may hand on its result while the other half still computes.
    times.send_forward[chunk] -= pair.span - pair.forward_end;
    times.send_backward[chunk] -= cut.runs_on[chunk];
  }
  double optimizer = 0;
  for (std::size_t stage = 0; stage < cut.parameters.size(); ++stage) {
    double last_backward = 0;
    for (std::size_t chunk = 0; chunk < cut.passes.size(); ++chunk)
      if (static_cast<std::size_t>(cut.stage_of[chunk]) == stage)
        last_backward = std::max(last_backward, backward_of(cut.passes[chunk], input.split_backward) +
                                                    cut.passes[chunk].backward_head_start);
    times.stage_tail.push_back(
        std::max(sync_tail(input, stage, last_backward), input.sync->drag * input.sync->reduce_once[stage]) +
        input.sync->copy_sums[stage]);
    optimizer = std::max(optimizer, input.sync->optimizer[stage]);
  }
  return player.play(pipeline, times) + input.sync->grad_norm + optimizer;
}

}  // namespace moesim
