#include "sim/engine/compiled_program.hpp"

#include <algorithm>

namespace moesim {
namespace {

using Places = std::array<std::uint32_t, kStreams>;

bool presses_on_a_port(const PortUse& use) {
  return std::any_of(use.share.begin(), use.share.end(), [](float share) { return share > 0; });
}

bool shares_resources(const ReplayProgram& program, const ReplayOp& op) {
  const bool slows = program.compute_slowdown != 1;
  const bool share_slows = program.share_slowdown != 1;
  if (op.op_class == ReplayOpClass::kCompute) return slows || share_slows;
  return (op.holds_compute && slows) || (op.holds_share && share_slows) ||
         presses_on_a_port(program.port_uses[op.port_use]);
}

// What `op` needs of every stream: the number of ops of this call that must have ended there.
// 0 with its bit in `named` still demands that the calls before have ended there.
Places demands(const ReplayBlock& block, const ReplayOp& op, const Places& issued,
               const std::vector<std::uint32_t>& place, std::uint32_t& named) {
  Places demand{};
  named = op.wait_streams;
  for (unsigned stream = 0; stream < kStreams; ++stream) {
    if ((op.wait_streams >> stream & 1U) != 0) demand[stream] = issued[stream];
  }
  for (std::uint32_t i = 0; i < op.dep_count; ++i) {
    const std::uint32_t dep = block.deps[op.first_dep + i];
    const auto stream = static_cast<unsigned>(block.ops[dep].stream);
    demand[stream] = std::max(demand[stream], place[dep] + 1);
    named |= 1U << stream;
  }
  return demand;
}

class BlockCompiler {
 public:
  BlockCompiler(const ReplayProgram& program, bool contention, CompiledProgram& out)
      : program_(program), contention_(contention), out_(out) {}

  void add(const ReplayBlock& block) {
    place_.assign(block.ops.size(), 0);
    Places issued{};
    for (std::size_t i = 0; i < block.ops.size(); ++i) place_[i] = issued[stream_of(block.ops[i])]++;

    CompiledBlock compiled;
    const auto base = static_cast<std::uint32_t>(out_.ops.size());
    compiled.first_op[0] = base;
    for (unsigned stream = 0; stream < kStreams; ++stream) {
      compiled.first_op[stream + 1] = compiled.first_op[stream] + issued[stream];
      if (issued[stream] != 0) compiled.streams |= 1U << stream;
    }
    out_.ops.resize(base + block.ops.size());

    issued.fill(0);
    known_ = {};
    for (std::size_t i = 0; i < block.ops.size(); ++i) {
      const unsigned stream = stream_of(block.ops[i]);
      out_.ops[compiled.first_op[stream] + place_[i]] = compile_op(block, static_cast<std::uint32_t>(i), issued);
      ++issued[stream];
    }
    out_.blocks.push_back(compiled);
  }

 private:
  static unsigned stream_of(const ReplayOp& op) { return static_cast<unsigned>(op.stream); }

  CompiledOp compile_op(const ReplayBlock& block, std::uint32_t index, const Places& issued) {
    const ReplayOp& op = block.ops[index];
    const std::uint16_t meeting = op.meeting_category == ReplayOp::kOwnCategory ? op.category : op.meeting_category;
    CompiledOp compiled{.duration = op.duration,
                        .first_need = static_cast<std::uint32_t>(out_.needs.size()),
                        .port_use = op.port_use,
                        .op = index,
                        .category = op.category,
                        .meeting_category = meeting,
                        .group = op.group,
                        .op_class = op.op_class,
                        .varies = op.varies,
                        .second_half = op.second_half,
                        .holds_compute = op.holds_compute,
                        .holds_share = op.holds_share,
                        .shares = contention_ && shares_resources(program_, op)};
    std::uint32_t named = 0;
    const Places demand = demands(block, op, issued, place_, named);
    auto& known = known_[stream_of(op)];
    for (unsigned stream = 0; stream < kStreams; ++stream) {
      const bool own = stream == stream_of(op);
      if (own || (named >> stream & 1U) == 0 || demand[stream] + 1 <= known[stream]) continue;
      known[stream] = demand[stream] + 1;
      out_.needs.push_back({demand[stream], static_cast<std::uint8_t>(stream)});
      ++compiled.need_count;
    }
    out_.categories = std::max({out_.categories, std::uint32_t{op.category} + 1, std::uint32_t{meeting} + 1});
    return compiled;
  }

  const ReplayProgram& program_;
  bool contention_;
  CompiledProgram& out_;
  std::vector<std::uint32_t> place_;  // of each op in its stream, within the block
  // By stream of the op that needs and stream needed: one more than what an earlier op already waited for; 0: nothing.
  std::array<Places, kStreams> known_{};
};

}  // namespace

CompiledProgram compile(const ReplayProgram& program, bool contention) {
  CompiledProgram compiled;
  compiled.blocks.reserve(program.blocks.size());
  BlockCompiler compiler(program, contention, compiled);
  for (const ReplayBlock& block : program.blocks) compiler.add(block);
  return compiled;
}

}  // namespace moesim
