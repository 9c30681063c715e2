#include "sim/engine/price.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "sim/engine/entity_pricer.hpp"
#include "sim/program/block_dependencies.hpp"

namespace moesim {
namespace {

// Channels connect stages: one per payload (activations or gradients) and direction (to a later or an earlier stage), each
// with an even slot for sending and the next odd one for receiving.
constexpr int kChannelSlots = 8;

int channel_slot(const Op& op, StageId stage) {
  const bool gradient = op.phase != Phase::kForward;
  const bool send = op.kind == OpKind::kSend;
  const int from = send ? stage.value() : op.peer_stage;
  const int to = send ? op.peer_stage : stage.value();
  return (gradient ? 4 : 0) + (to > from ? 0 : 2) + (send ? 0 : 1);
}

Picoseconds to_picoseconds(Seconds time) { return std::llround(time.value() * kPicosecondsPerSecond); }

class Pricer {
 public:
  Pricer(const Program& program, const CostModel& costs, const PriceOptions& options)
      : program_(program),
        costs_(costs),
        options_(options),
        tiers_(costs.view().tiers().size()),
        directions_(program.layout->sizes().pp > 1 ? 2 : 1) {}

  PricedProgram run() {
    compile_blocks();
    if (program_.loads) classes_ = load_classes(*program_.layout, *program_.loads);
    if (options_.folding == Folding::kRoles) {
      make_role_entities();
    } else {
      make_rank_entities();
    }
    connect_groups();
    connect_channels();
    result_.replay.compute_slowdown = 1;
    for (const PricedEntity& entity : result_.entities)
      result_.replay.compute_slowdown =
          std::max(result_.replay.compute_slowdown,
                   costs_.compute_slowdown_beside_communication(costs_.view().device_index(entity.representative)));
    if (program_.plan.comm_sm_share > 0) result_.replay.share_slowdown = 1 / (1 - program_.plan.comm_sm_share);
    return std::move(result_);
  }

 private:
  [[nodiscard]] const Layout& layout() const { return *program_.layout; }
  [[nodiscard]] StageId stage_of(const Block& block) const {
    return program_.chunks[static_cast<std::size_t>(block.chunk)].stage;
  }
  // Who comes to it first waits for another stage, as in any bubble.
  [[nodiscard]] bool meets_other_stages(const Op& op) const {
    return program_.plan.sizes().pp > 1 && (op.group == GroupKind::kWorld || op.group == GroupKind::kMirror);
  }
  [[nodiscard]] int variants() const { return program_.loads ? program_.loads->variants : 1; }

  // Dependencies and table offsets; the same for all entities of a stage.
  void compile_blocks() {
    std::vector<std::uint32_t> next_offset(program_.stages.size(), 0);
    for (const Block& block : program_.blocks) {
      ReplayBlock compiled;
      BlockDependencies waits = block_dependencies(block.ops);
      std::uint32_t& offset = next_offset[stage_of(block).index()];
      for (std::uint32_t i = 0; i < block.ops.size(); ++i) {
        const Op& op = block.ops[i];
        ReplayOp out;
        out.first_dep = waits.first[i];
        out.dep_count = static_cast<std::uint16_t>(waits.of(i).size());
        out.wait_streams = op.wait_streams;
        out.stream = op.stream;
        out.category = static_cast<std::uint16_t>(category_of(op));
        out.varies = variants() > 1 && depends_on_routing(op, program_.chunk_of(block, op));
        out.second_half = op.second_half != 0;
        out.duration = offset;
        offset += out.varies ? static_cast<std::uint32_t>(variants()) : 1;
        if (op.kind == OpKind::kSend || op.kind == OpKind::kReceive) {
          out.op_class = op.kind == OpKind::kSend ? ReplayOpClass::kSend : ReplayOpClass::kReceive;
          out.group = static_cast<std::uint8_t>(channel_slot(op, stage_of(block)));
        } else if (is_communication(op.kind)) {
          out.op_class = ReplayOpClass::kCollective;
          if (meets_other_stages(op)) out.meeting_category = static_cast<std::uint16_t>(Category::kPpComm);
          out.group = static_cast<std::uint8_t>(op.group);
          const bool exchange = op.kind == OpKind::kDispatch || op.kind == OpKind::kCombine;
          out.holds_share = exchange && program_.plan.comm_sm_share > 0;
          out.holds_compute = !out.holds_share;
        }
        compiled.ops.push_back(out);
      }
      compiled.deps = std::move(waits.deps);
      result_.replay.blocks.push_back(std::move(compiled));
    }
    table_size_ = next_offset;
  }

  void add_calls(ReplayEntity& entity, StageId stage) const {
    for (const Call& call : program_.stages[stage.index()].calls) {
      ReplayCall out;
      out.block = static_cast<std::uint32_t>(call.block);
      out.micro_batch = call.micro_batch;
      out.variant = static_cast<std::uint16_t>(std::max(0, call.micro_batch) % variants());
      out.second_variant = static_cast<std::uint16_t>(std::max(0, call.second_micro_batch) % variants());
      entity.calls.push_back(out);
    }
  }

  // What leaves a rank and what reaches it share nothing. A transfer fills one direction at each of its ends, a collective both
  // alike; so where there are transfers, ports come twice, first those out and then those in.
  std::uint32_t port_use(const PricedOp& priced, ReplayOpClass op_class) {
    PortUse use;
    use.share.assign(tiers_ * directions_, 0);
    for (std::size_t direction = 0; direction < directions_; ++direction) {
      if (op_class == (direction == 0 ? ReplayOpClass::kReceive : ReplayOpClass::kSend)) continue;
      std::copy_n(priced.port_share.begin(), tiers_,
                  use.share.begin() + static_cast<std::ptrdiff_t>(direction * tiers_));
    }
    if (std::all_of(use.share.begin(), use.share.end(), [](float share) { return share == 0; })) return 0;
    const auto [entry, fresh] =
        known_uses_.try_emplace(use.share, static_cast<std::uint32_t>(result_.replay.port_uses.size()));
    if (fresh) result_.replay.port_uses.push_back(std::move(use));
    return entry->second;
  }

  void add_entity(StageId stage, EntityPricer& pricer, double compute_scale, const PricedEntity& description) {
    std::vector<Picoseconds> table(table_size_[stage.index()], 0);
    const std::size_t first_work = result_.work.size();
    if (options_.count_work == CountWork::kYes) result_.work.resize(first_work + program_.blocks.size());
    for (std::size_t b = 0; b < program_.blocks.size(); ++b) {
      const Block& block = program_.blocks[b];
      if (stage_of(block) != stage) continue;
      for (std::size_t i = 0; i < block.ops.size(); ++i) {
        ReplayOp& out = result_.replay.blocks[b].ops[i];
        const Op& op = block.ops[i];
        for (int variant = 0; variant < (out.varies ? variants() : 1); ++variant) {
          const PricedOp priced = pricer.price(op, program_.chunk_of(block, op), variant);
          table[out.duration + static_cast<std::uint32_t>(variant)] = to_picoseconds(priced.time);
          result_.extrapolated_ops += priced.extrapolated ? 1 : 0;
          ++result_.priced_ops;
          if (variant == 0 && !result_.work.empty()) {
            BlockWork& work = result_.work[first_work + b];
            for (std::size_t t = 0; t < work.sent_bytes.size(); ++t) work.sent_bytes[t] += priced.sent_bytes[t];
            work.flops += pricer.flops(op, program_.chunk_of(block, op), variant);
          }
          if (out.op_class != ReplayOpClass::kCompute && out.port_use == 0)
            out.port_use = port_use(priced, out.op_class);
        }
      }
    }
    ReplayEntity entity;
    entity.durations = static_cast<std::uint32_t>(result_.replay.durations.size());
    entity.compute_scale = compute_scale;
    const auto index = static_cast<std::int32_t>(result_.replay.entities.size());
    const auto ports = static_cast<std::int32_t>(tiers_ * directions_);
    for (std::int32_t port = 0; port < ports; ++port) entity.ports.push_back(index * ports + port);
    result_.replay.ports = (index + 1) * ports;
    add_calls(entity, stage);
    result_.replay.durations.push_back(std::move(table));
    result_.replay.entities.push_back(std::move(entity));
    result_.entities.push_back(description);
  }

  // The rank of a stage that stands in the same pipeline. Not the one at the same place among the stage's ranks: a device
  // map may order the ranks of two stages differently.
  [[nodiscard]] RankId at_stage(RankId rank, StageId stage) const {
    return layout().group(GroupKind::kPp, rank)[stage.index()];
  }

  // `positions` are places among the ranks of stage 0.
  [[nodiscard]] std::vector<RankId> ranks_at(StageId stage, const std::vector<int>& positions) const {
    std::vector<RankId> ranks;
    for (const int position : positions)
      ranks.push_back(at_stage(layout().stage_ranks(StageId(0))[static_cast<std::size_t>(position)], stage));
    return ranks;
  }

  void make_role_entities() {
    entity_of_rank_.assign(static_cast<std::size_t>(layout().world()), -1);
    const int played = std::min<int>(static_cast<int>(classes_.size()), std::max(1, options_.most_load_classes));
    for (int stage = 0; stage < layout().sizes().pp; ++stage)
      for (int c = 0; c < played; ++c) {
        const LoadClass& one = classes_[static_cast<std::size_t>(c)];
        // The class stands for all its groups: the slowest device and rank among them set the pace.
        PricedEntity description{StageId(stage), RankId(), 0, c};
        double slowest = 1;
        int device = -1;
        for (const auto& positions : one.members)
          for (const RankId rank : ranks_at(StageId(stage), positions)) {
            entity_of_rank_[rank.index()] = static_cast<std::int32_t>(result_.entities.size());
            ++description.ranks;
            slowest = std::min(slowest, costs_.view().speed(rank));
            const int candidate = costs_.view().device_index(rank);
            if (device < 0 || rate_of(candidate) < rate_of(device)) device = candidate;
          }
        std::vector<RankId> group = ranks_at(StageId(stage), one.members.front());
        description.representative = group.front();
        PieceLoads* const loads = loads_of(c);
        EntityPricer pricer(program_, costs_, std::move(group), loads, std::nullopt, 0, device);
        add_entity(StageId(stage), pricer, 1 / slowest, description);
      }
  }

  void make_rank_entities() {
    entity_of_rank_.assign(static_cast<std::size_t>(layout().world()), -1);
    const int esp = layout().sizes().esp;
    for (int stage = 0; stage < layout().sizes().pp; ++stage)
      for (std::size_t c = 0; c < classes_.size(); ++c)
        for (const auto& positions : classes_[c].members) {
          const std::vector<RankId> group = ranks_at(StageId(stage), positions);
          for (std::size_t slot = 0; slot < group.size(); ++slot) {
            const RankId rank = group[slot];
            entity_of_rank_[rank.index()] = static_cast<std::int32_t>(result_.entities.size());
            EntityPricer pricer(program_, costs_, group, loads_of(static_cast<int>(c)), static_cast<int>(slot) / esp,
                                static_cast<int>(slot) % esp, costs_.view().device_index(rank));
            add_entity(StageId(stage), pricer, 1 / costs_.view().speed(rank),
                       {StageId(stage), rank, 1, static_cast<int>(c)});
          }
        }
  }

  [[nodiscard]] double rate_of(int device) const {
    return costs_.view().devices()[static_cast<std::size_t>(device)].peak(program_.recipe.compute).value();
  }

  // Of a class of groups, with those of its pieces as they are asked for.
  struct ClassLoads {
    GroupLoads whole;
    PieceLoads pieces;
    explicit ClassLoads(GroupLoads loads) : whole(std::move(loads)), pieces(whole) {}
  };

  PieceLoads* loads_of(int load_class) {
    if (!program_.loads || program_.loads->moe_layers == 0) return nullptr;
    std::unique_ptr<ClassLoads>& known = class_loads_[load_class];
    if (!known)
      known = std::make_unique<ClassLoads>(GroupLoads(*program_.loads,
                                                      classes_[static_cast<std::size_t>(load_class)].sources,
                                                      layout().sizes().ep, layout().sizes().esp));
    return &known->pieces;
  }

  // Entities that any group of a kind ties together meet in one rendezvous. Ranks that are not played are left out.
  void connect_groups() {
    const auto entities = result_.entities.size();
    for (ReplayEntity& entity : result_.replay.entities) entity.groups.assign(kGroupKinds, -1);
    for (int kind = 0; kind < kGroupKinds; ++kind) {
      if (static_cast<GroupKind>(kind) == GroupKind::kPp || static_cast<GroupKind>(kind) == GroupKind::kSelf) continue;
      std::vector<std::int32_t> parent(entities);
      std::iota(parent.begin(), parent.end(), 0);
      const auto root = [&parent](std::int32_t i) {
        while (parent[static_cast<std::size_t>(i)] != i) i = parent[static_cast<std::size_t>(i)];
        return i;
      };
      for (int group = 0; group < layout().group_count(static_cast<GroupKind>(kind)); ++group) {
        std::int32_t first = -1;
        for (const RankId rank : layout().group_at(static_cast<GroupKind>(kind), group)) {
          const std::int32_t entity = entity_of_rank_[rank.index()];
          if (entity < 0) continue;
          if (first < 0) first = entity;
          const std::int32_t a = root(first);
          const std::int32_t b = root(entity);
          parent[static_cast<std::size_t>(std::max(a, b))] = std::min(a, b);
        }
      }
      std::vector<std::int32_t> members(entities, 0);
      for (std::size_t e = 0; e < entities; ++e)
        ++members[static_cast<std::size_t>(root(static_cast<std::int32_t>(e)))];
      std::vector<std::int32_t> rendezvous(entities, -1);
      for (std::size_t e = 0; e < entities; ++e) {
        const auto r = static_cast<std::size_t>(root(static_cast<std::int32_t>(e)));
        if (members[r] < 2) continue;
        if (rendezvous[r] < 0) {
          rendezvous[r] = static_cast<std::int32_t>(result_.replay.group_sizes.size());
          result_.replay.group_sizes.push_back(members[r]);
        }
        result_.replay.entities[e].groups[static_cast<std::size_t>(kind)] = rendezvous[r];
      }
    }
  }

  void connect_channels() {
    for (std::size_t e = 0; e < result_.entities.size(); ++e) {
      ReplayEntity& entity = result_.replay.entities[e];
      entity.channels.assign(kChannelSlots, -1);
      const PricedEntity& own = result_.entities[e];
      for (const Block& block : program_.blocks) {
        if (stage_of(block) != own.stage) continue;
        for (const Op& op : block.ops) {
          if (op.peer_stage < 0) continue;
          const RankId peer = at_stage(own.representative, StageId(op.peer_stage));
          entity.channels[static_cast<std::size_t>(channel_slot(op, own.stage))] = entity_of_rank_[peer.index()];
        }
      }
    }
  }

  const Program& program_;
  const CostModel& costs_;
  PriceOptions options_;
  std::size_t tiers_;
  std::size_t directions_;  // of ports that are told apart
  PricedProgram result_;
  std::vector<LoadClass> classes_;
  std::vector<std::uint32_t> table_size_;
  std::vector<std::int32_t> entity_of_rank_;  // -1: not played
  std::map<int, std::unique_ptr<ClassLoads>> class_loads_;
  std::map<std::vector<float>, std::uint32_t> known_uses_;
};

}  // namespace

PricedProgram price(const Program& program, const CostModel& costs, const PriceOptions& options) {
  return Pricer(program, costs, options).run();
}

}  // namespace moesim
