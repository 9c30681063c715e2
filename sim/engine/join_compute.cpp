#include "sim/engine/join_compute.hpp"

#include <algorithm>
#include <limits>
#include <span>

#include "base/error.hpp"

namespace moesim {
namespace {

bool computes(const ReplayOp& op) { return op.stream == Stream::kCompute && op.op_class == ReplayOpClass::kCompute; }

class BlockJoiner {
 public:
  explicit BlockJoiner(JoinedProgram& out) : out_(out) {}

  ReplayBlock join(const ReplayBlock& block, std::uint32_t index) {
    find_ends(block);
    ReplayBlock joined;
    place_.assign(block.ops.size(), 0);
    std::size_t head = kNone;  // the op that later ones may join
    const auto close = [&] {
      if (head != kNone && members_.size() > 1) add_run(block, index);
      head = kNone;
    };
    for (std::size_t i = 0; i < block.ops.size(); ++i) {
      const ReplayOp& op = block.ops[i];
      const bool joins = head != kNone && may_join(block, block.ops[head], op);
      if (op.stream == Stream::kCompute && !joins) close();
      if (joins) {
        place_[i] = place_[head];
        members_.push_back(i);
      } else {
        place_[i] = static_cast<std::uint32_t>(joined.ops.size());
        copy(block, op, joined);
        if (computes(op)) {
          head = i;
          members_.assign(1, i);
        }
      }
      if (ends_[i] && computes(op)) close();
    }
    close();
    return joined;
  }

 private:
  static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

  // A run ends with an operation for which communication, or anything but the next computation, waits.
  void find_ends(const ReplayBlock& block) {
    ends_.assign(block.ops.size(), false);
    std::size_t last = kNone;
    for (std::size_t i = 0; i < block.ops.size(); ++i) {
      const ReplayOp& op = block.ops[i];
      if (computes(op)) {
        last = i;
        continue;
      }
      if ((op.wait_streams & stream_bit(Stream::kCompute)) != 0 && last != kNone) ends_[last] = true;
      for (std::uint32_t d = 0; d < op.dep_count; ++d) ends_[block.deps[op.first_dep + d]] = true;
    }
  }

  // It must wait for nothing but computation, and its duration must depend on the micro-batch in the same way.
  static bool may_join(const ReplayBlock& block, const ReplayOp& head, const ReplayOp& op) {
    if (!computes(op) || op.wait_streams != 0 || op.varies != head.varies || op.second_half != head.second_half)
      return false;
    for (std::uint32_t d = 0; d < op.dep_count; ++d)
      if (block.ops[block.deps[op.first_dep + d]].stream != Stream::kCompute) return false;
    return true;
  }

  void copy(const ReplayBlock& block, const ReplayOp& op, ReplayBlock& joined) const {
    ReplayOp out = op;
    out.first_dep = static_cast<std::uint32_t>(joined.deps.size());
    for (std::uint32_t d = 0; d < op.dep_count; ++d) {
      const std::uint32_t dep = place_[block.deps[op.first_dep + d]];
      const auto own = joined.deps.begin() + out.first_dep;
      if (std::find(own, joined.deps.end(), dep) == joined.deps.end()) joined.deps.push_back(dep);
    }
    out.dep_count = static_cast<std::uint16_t>(joined.deps.size() - out.first_dep);
    joined.ops.push_back(out);
  }

  void add_run(const ReplayBlock& block, std::uint32_t index) {
    out_.runs.push_back({index, place_[members_.front()], static_cast<std::uint32_t>(out_.parts.size()),
                         static_cast<std::uint32_t>(members_.size()), 0});
    for (const std::size_t member : members_)
      out_.parts.push_back({block.ops[member].duration, block.ops[member].category});
  }

  JoinedProgram& out_;
  std::vector<bool> ends_;            // by op
  std::vector<std::uint32_t> place_;  // of each op, in the joined block
  std::vector<std::size_t> members_;  // of the open run
};

// Numbers the runs so that no two that one entity plays have the same category, with few numbers: entities of a stage share
// their blocks, and those of another stage may use the same numbers again.
void number_runs(JoinedProgram& joined) {
  const std::size_t entities = joined.program.entities.size();
  std::vector<std::vector<std::uint32_t>> callers(joined.program.blocks.size());
  for (std::uint32_t e = 0; e < entities; ++e)
    for (const ReplayCall& call : joined.program.entities[e].calls)
      if (callers[call.block].empty() || callers[call.block].back() != e) callers[call.block].push_back(e);
  joined.runs_of_entity.resize(entities);
  std::vector<std::uint16_t> next(entities, joined.first_category);
  for (std::uint32_t run = 0; run < joined.runs.size(); ++run) {
    JoinedProgram::Run& own = joined.runs[run];
    for (const std::uint32_t e : callers[own.block]) own.category = std::max(own.category, next[e]);
    MOESIM_ASSERT(own.category < std::numeric_limits<std::uint16_t>::max());
    joined.program.blocks[own.block].ops[own.op].category = own.category;
    for (const std::uint32_t e : callers[own.block]) {
      next[e] = static_cast<std::uint16_t>(own.category + 1);
      joined.runs_of_entity[e].push_back(run);
    }
  }
}

// Sums the durations of each run into the slot of its first part, in the tables of the entities that play it.
void join_durations(JoinedProgram& joined) {
  std::uint32_t variants = 1;
  for (const ReplayEntity& entity : joined.program.entities)
    for (const ReplayCall& call : entity.calls)
      variants = std::max<std::uint32_t>(variants, std::max(call.variant, call.second_variant) + 1U);
  std::vector<std::vector<bool>> summed(joined.program.durations.size(), std::vector<bool>(joined.runs.size()));
  for (std::size_t e = 0; e < joined.program.entities.size(); ++e) {
    const std::uint32_t number = joined.program.entities[e].durations;
    std::vector<Picoseconds>& table = joined.program.durations[number];
    for (const std::uint32_t index : joined.runs_of_entity[e]) {
      if (summed[number][index]) continue;
      summed[number][index] = true;
      const JoinedProgram::Run& run = joined.runs[index];
      const bool varies = joined.program.blocks[run.block].ops[run.op].varies;
      for (std::uint32_t variant = 0; variant < (varies ? variants : 1); ++variant)
        for (std::uint32_t part = 1; part < run.parts; ++part)
          table[joined.parts[run.first_part].duration + variant] +=
              table[joined.parts[run.first_part + part].duration + variant];
    }
  }
}

// Gives the time of each run back to the categories of its parts. Whole picoseconds, so that sums stay what they are.
void share_out(const JoinedProgram& joined, const std::vector<std::uint32_t>& runs,
               const std::vector<Picoseconds>& table, std::vector<Picoseconds>& by_category) {
  for (const std::uint32_t index : runs) {
    const JoinedProgram::Run& run = joined.runs[index];
    if (run.category >= by_category.size() || by_category[run.category] == 0) continue;
    const std::span<const JoinedProgram::Part> parts = std::span(joined.parts).subspan(run.first_part, run.parts);
    const Picoseconds time = by_category[run.category];
    double whole = 0;
    for (const JoinedProgram::Part& part : parts) whole += static_cast<double>(table[part.duration]);
    Picoseconds rest = time;
    for (const JoinedProgram::Part& part : parts) {
      const double fraction = whole > 0 ? static_cast<double>(table[part.duration]) / whole : 0;
      const auto share = std::min(rest, static_cast<Picoseconds>(static_cast<double>(time) * fraction));
      by_category[part.category] += share;
      rest -= share;
    }
    by_category[parts.front().category] += rest;
  }
  by_category.resize(std::min<std::size_t>(by_category.size(), joined.first_category));
}

}  // namespace

JoinedProgram join_compute(const ReplayProgram& program) {
  JoinedProgram joined;
  const auto behind = [&joined](std::uint16_t category) {
    joined.first_category = std::max(joined.first_category, static_cast<std::uint16_t>(category + 1));
  };
  for (const ReplayBlock& block : program.blocks)
    for (const ReplayOp& op : block.ops) {
      behind(op.category);
      if (op.meeting_category != ReplayOp::kOwnCategory) behind(op.meeting_category);
    }
  BlockJoiner joiner(joined);
  for (std::uint32_t i = 0; i < program.blocks.size(); ++i)
    joined.program.blocks.push_back(joiner.join(program.blocks[i], i));
  joined.program.entities = program.entities;
  joined.program.group_sizes = program.group_sizes;
  joined.program.durations = program.durations;
  joined.program.port_uses = program.port_uses;
  joined.program.ports = program.ports;
  joined.program.compute_slowdown = program.compute_slowdown;
  joined.program.share_slowdown = program.share_slowdown;
  number_runs(joined);
  join_durations(joined);
  return joined;
}

ReplayResult replay_joined(const ReplayProgram& program, const ReplayOptions& options) {
  if (options.record_intervals) return replay(program, options);
  const JoinedProgram joined = join_compute(program);
  ReplayResult result = replay(joined.program, options);
  if (result.outlasted) return result;
  // Operations are named by their place in the joined blocks: what waits is told in the words of the whole program.
  if (!result.finished) return replay(program, options);
  for (std::size_t e = 0; e < result.entities.size(); ++e) {
    const std::vector<Picoseconds>& table = program.durations[program.entities[e].durations];
    share_out(joined, joined.runs_of_entity[e], table, result.entities[e].compute_by_category);
    share_out(joined, joined.runs_of_entity[e], table, result.entities[e].exposed_by_category);
  }
  return result;
}

}  // namespace moesim
