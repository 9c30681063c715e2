#include "sim/search/cells.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "sim/lower/ep_nodes.hpp"
#include "sim/lower/shadow_counts.hpp"

namespace moesim {
namespace {

// What the layers of a model demand of tp and esp.
struct ModelLimits {
  std::vector<std::int64_t> heads;      // of every attention kind
  std::vector<std::int64_t> tp_widths;  // dense and shared FFN widths
  std::vector<std::int64_t> expert_widths;
  std::int64_t experts = 1;
};

ModelLimits limits_of(const ModelShape& model) {
  ModelLimits limits;
  for (const LayerShape& layer : model.kinds) {
    limits.heads.push_back(layer.attention.heads);
    // Key/value heads are cut when there are enough of them, and repeated evenly when there are not.
    if (layer.attention.kind == AttentionKind::kGrouped) limits.heads.push_back(-layer.attention.kv_heads);
    if (layer.dense) limits.tp_widths.push_back(layer.dense->width);
    if (layer.moe) {
      limits.expert_widths.push_back(layer.moe->expert.width);
      if (layer.moe->shared.width > 0) limits.tp_widths.push_back(layer.moe->shared.width);
      limits.experts = layer.moe->experts;
    }
  }
  return limits;
}

bool divides_heads(const ModelLimits& limits, int tp) {
  return std::all_of(limits.heads.begin(), limits.heads.end(), [tp](std::int64_t heads) {
    return heads > 0 ? heads % tp == 0 : (-heads % tp == 0 || tp % -heads == 0);
  });
}

bool divides_all(const std::vector<std::int64_t>& widths, int parts) {
  return std::all_of(widths.begin(), widths.end(), [parts](std::int64_t width) { return width % parts == 0; });
}

std::optional<Pruned> why_impossible(const ModelShape& model, const ModelLimits& limits, const SearchSpace& space,
                                     int world, Cell& cell) {
  ParallelSizes& s = cell.sizes;
  if (world % (s.tp * s.cp * s.pp) != 0 || world % (s.esp * s.ep * s.pp) != 0) return Pruned::kWorldNotDivisible;
  s.dp = world / (s.tp * s.cp * s.pp);
  s.edp = world / (s.esp * s.ep * s.pp);
  if (s.tp * s.cp * s.dp % (s.esp * s.ep) != 0) return Pruned::kMeshesDisagree;
  if (!divides_heads(limits, s.tp)) return Pruned::kHeads;
  if (limits.experts % s.ep != 0) return Pruned::kExperts;
  if (!divides_all(limits.expert_widths, s.esp) || !divides_all(limits.tp_widths, s.tp)) return Pruned::kExpertWidth;
  if (s.pp > model.layer_count()) return Pruned::kLayers;
  if (space.seq_length % (s.cp > 1 ? 2 * s.cp : 1) != 0 || space.seq_length / s.cp % s.tp != 0)
    return Pruned::kSequence;
  if (space.global_batch % (cell.micro_batch * s.dp) != 0) return Pruned::kBatch;
  return std::nullopt;
}

Plan plan_of(const SearchSpace& space, const Cell& cell) {
  Plan plan;
  plan.layout.sizes = cell.sizes;
  plan.micro_batch = cell.micro_batch;
  plan.seq_length = space.seq_length;
  plan.precision = space.precision;
  plan.moe_degree = cell.moe_degree;
  plan.moe_backward_degree = cell.moe_backward_degree;
  plan.moe_shadows = cell.moe_shadows;
  return plan;
}

// In how many pieces the space has a schedule under a layout.
std::vector<int> searched_degrees(const ModelShape& model, const SearchSpace& space, const Cell& cell) {
  if (model.first_moe() == nullptr) return {1};
  return space.moe_degree.empty() ? cell.moe_schedule->degrees(plan_of(space, cell)) : space.moe_degree;
}

// And in its backward pass, where the forward pass has the cell's number.
std::vector<int> searched_backward_degrees(const ModelShape& model, const SearchSpace& space, const Cell& cell) {
  if (model.first_moe() == nullptr || space.moe_backward_degree.empty()) return {0};
  std::vector<int> degrees = space.moe_backward_degree;
  std::replace(degrees.begin(), degrees.end(), cell.moe_degree, 0);
  return degrees;
}

std::vector<int> searched_shadows(const ModelShape& model, const SearchSpace& space, const Cell& cell) {
  if (model.first_moe() == nullptr) return {0};
  return possible_shadows(*cell.moe_schedule, plan_of(space, cell), *model.first_moe(), space.moe_shadows);
}

// Whether a MoE schedule of the space, in so many pieces, is worth a skeleton of its own.
std::optional<Pruned> why_no_schedule(const ModelShape& model, const SearchSpace& space, const Cell& cell) {
  const MoeShape* moe = model.first_moe();
  const auto& names = space.moe_schedule;
  // Nobody to exchange with.
  if ((moe == nullptr || cell.sizes.ep * cell.sizes.esp == 1) && cell.all_to_all != space.all_to_all.front())
    return Pruned::kEquivalent;
  if (moe == nullptr)
    return cell.moe_schedule->name() == names.front() ? std::nullopt : std::optional(Pruned::kEquivalent);
  const Plan plan = plan_of(space, cell);
  if (!check_moe_schedule(*cell.moe_schedule, plan, *moe)) return Pruned::kMoeSchedule;
  const std::string_view other = cell.moe_schedule->same_as(plan, *moe);
  return std::find(names.begin(), names.end(), other) == names.end() ? std::nullopt
                                                                     : std::optional(Pruned::kEquivalent);
}

// EP members on a node, by what places the EP groups of the search's rank order.
class EpNodes {
 public:
  explicit EpNodes(const ClusterView& view) : view_(view) {}
  Result<int> of(int ep, int pp) {
    const auto [entry, fresh] = known_.try_emplace({ep, pp}, 1);
    const int stage = view_.ranks() / pp;
    if (!fresh || view_.ranks() % pp != 0 || stage % ep != 0) return entry->second;
    LayoutSpec spec;
    spec.sizes = {.pp = pp, .dp = stage, .ep = ep, .edp = stage / ep};
    MOESIM_ASSIGN(const Layout layout, Layout::make(spec, view_.ranks()));
    return entry->second = ep_members_on_node(layout, view_);
  }

 private:
  const ClusterView& view_;
  std::map<std::pair<int, int>, int> known_;
};

}  // namespace

Result<CellList> enumerate_cells(const ModelShape& model, const SearchSpace& space, const ClusterView& view,
                                 std::int64_t weight, Certificate& certificate) {
  const int world = view.ranks();
  EpNodes nodes(view);
  const ModelLimits limits = limits_of(model);
  std::vector<const MoeSchedule*> schedules;
  for (const std::string& name : space.moe_schedule) {
    MOESIM_ASSIGN(const MoeSchedule* schedule, find_moe_schedule(name));
    schedules.push_back(schedule);
  }
  CellList list;
  const auto look_at = [&](Cell cell) {
    ++list.combinations;
    auto reason = why_impossible(model, limits, space, world, cell);
    if (!reason) reason = why_no_schedule(model, space, cell);
    if (reason) {
      certificate.pruned[static_cast<std::size_t>(*reason)] += weight;
    } else {
      list.cells.push_back(cell);
    }
  };
  for (const int pp : space.pp)
    for (const int tp : space.tp)
      for (const int cp : space.cp)
        for (const int ep : space.ep)
          for (const int esp : space.esp)
            for (const int micro_batch : space.micro_batch)
              for (const MoeSchedule* schedule : schedules)
                for (const ExchangeAlgorithm algorithm : space.all_to_all) {
                  Cell cell;
                  cell.sizes.pp = pp;
                  cell.sizes.tp = tp;
                  cell.sizes.cp = cp;
                  cell.sizes.ep = ep;
                  cell.sizes.esp = esp;
                  cell.micro_batch = micro_batch;
                  cell.moe_schedule = schedule;
                  cell.all_to_all = algorithm;
                  if (schedule->visits() && esp == 1) {
                    MOESIM_ASSIGN(cell.sizes.ep_on_node, nodes.of(ep, pp));
                  }
                  for (const int degree : searched_degrees(model, space, cell)) {
                    cell.moe_degree = degree;
                    for (const int backward : searched_backward_degrees(model, space, cell)) {
                      cell.moe_backward_degree = backward;
                      cell.moe_shadows = 0;
                      for (const int shadows : searched_shadows(model, space, cell)) {
                        cell.moe_shadows = shadows;
                        look_at(cell);
                      }
                    }
                  }
                }
  return list;
}

}  // namespace moesim
