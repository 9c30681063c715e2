#include "sim/plan/layout.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"

namespace moesim {
namespace {

constexpr std::array<std::string_view, kGroupKinds> kGroupNames = {
    "self", "tp", "cp", "dp", "dp_cp", "ep", "esp", "ep_esp", "edp", "pp", "mirror", "world", "ep_across", "ep_inside"};
constexpr std::array<std::string_view, 5> kDimensionNames = {"tp", "cp", "ep", "dp", "pp"};

// The extents of the two meshes along the five places of an order; a mesh has extent 1 where it knows no dimension.
struct Extents {
  std::array<int, 5> size{};
  [[nodiscard]] int operator[](MeshDimension dimension) const { return size[static_cast<std::size_t>(dimension)]; }
};
Extents dense_extents(const ParallelSizes& s) { return {{s.tp, s.cp, 1, s.dp, s.pp}}; }
Extents expert_extents(const ParallelSizes& s) { return {{s.esp, 1, s.ep, s.edp, s.pp}}; }

// Which coordinates vary inside a group, in the dense and in the expert mesh.
struct Varies {
  bool dense = true;  // the mesh that the group belongs to
  std::array<bool, 5> along{};
};
Varies varying(GroupKind kind) {
  switch (kind) {
    case GroupKind::kSelf: return {true, {}};
    case GroupKind::kTp: return {true, {true, false, false, false, false}};
    case GroupKind::kCp: return {true, {false, true, false, false, false}};
    case GroupKind::kDp: return {true, {false, false, false, true, false}};
    case GroupKind::kDpCp: return {true, {false, true, false, true, false}};
    case GroupKind::kEpAcross:
    case GroupKind::kEpInside:
    case GroupKind::kEp: return {false, {false, false, true, false, false}};
    case GroupKind::kEsp: return {false, {true, false, false, false, false}};
    case GroupKind::kEpEsp: return {false, {true, false, true, false, false}};
    case GroupKind::kEdp: return {false, {false, false, false, true, false}};
    case GroupKind::kPp:
    case GroupKind::kMirror: return {true, {false, false, false, false, true}};
    case GroupKind::kWorld: return {true, {true, true, true, true, true}};
  }
  return {};
}

Status check_sizes(const ParallelSizes& s) {
  const std::array<std::pair<std::string_view, int>, 9> sizes = {{{"tp", s.tp},
                                                                  {"cp", s.cp},
                                                                  {"pp", s.pp},
                                                                  {"vpp", s.vpp},
                                                                  {"dp", s.dp},
                                                                  {"ep", s.ep},
                                                                  {"esp", s.esp},
                                                                  {"edp", s.edp},
                                                                  {"ep_on_node", s.ep_on_node}}};
  for (const auto& [name, size] : sizes)
    if (size < 1 || size > kLargestWorld)
      return invalid_input(fmt::format("{} is {}, expected a number from 1 to {}", name, size, kLargestWorld));
  if (s.ep % s.ep_on_node != 0)
    return invalid_input(fmt::format("ep_on_node is {}, which does not divide ep ({})", s.ep_on_node, s.ep), {},
                         "set it to the EP members that stand on one node, or leave it out");
  return {};
}

// Products of sizes that each fit in 20 bits: four of them overflow 64 bits, so stop as soon as it is too large.
std::int64_t product(std::initializer_list<int> factors) {
  std::int64_t result = 1;
  for (const int factor : factors) {
    result *= factor;
    if (result > kLargestWorld) return kLargestWorld + 1LL;
  }
  return result;
}

Status check_world(const ParallelSizes& s, int world) {
  if (world < 1 || world > kLargestWorld)
    return invalid_input(fmt::format("world size is {}, expected a number from 1 to {}", world, kLargestWorld));
  const std::int64_t model = product({s.tp, s.pp, s.cp});
  if (world % model != 0)
    return invalid_input(
        fmt::format("world size ({}) is not divisible by tensor-model-parallel size ({}) x "
                    "pipeline-model-parallel size ({}) x context-parallel size ({})",
                    world, s.tp, s.pp, s.cp));
  if (world / model != s.dp)
    return invalid_input(fmt::format("data-parallel size is {}, but world size {} / (tp {} x pp {} x cp {}) is {}",
                                     s.dp, world, s.tp, s.pp, s.cp, world / model),
                         {}, fmt::format("dp {} uses every rank", world / model));
  const std::int64_t expert = product({s.esp, s.ep, s.pp});
  if (world % expert != 0)
    return invalid_input(fmt::format("world size ({}) is not divisible by expert_tensor_model_pipeline_parallel size "
                                     "(esp {} x ep {} x pp {})",
                                     world, s.esp, s.ep, s.pp),
                         {}, fmt::format("tp x cp x dp = {} must be a multiple of esp x ep", world / s.pp));
  if (world / expert != s.edp)
    return invalid_input(
        fmt::format("expert-data-parallel size is {}, but world size {} / (esp {} x ep {} x pp {}) is {}", s.edp, world,
                    s.esp, s.ep, s.pp, world / expert),
        {}, fmt::format("edp {} uses every rank", world / expert));
  return {};
}

Status check_device_map(const std::vector<RankId>& map, int world) {
  if (map.empty()) return {};
  if (map.size() != static_cast<std::size_t>(world))
    return invalid_input(fmt::format("device_map names {} ranks, the layout has {}", map.size(), world));
  std::vector<bool> seen(map.size(), false);
  for (const RankId rank : map) {
    if (!rank.valid() || rank.value() >= world)
      return invalid_input(fmt::format("device_map names rank {}, expected 0 to {}", rank.value(), world - 1));
    if (seen[rank.index()]) return invalid_input(fmt::format("device_map names rank {} twice", rank.value()));
    seen[rank.index()] = true;
  }
  return {};
}

}  // namespace

std::string_view group_name(GroupKind kind) { return kGroupNames[static_cast<std::size_t>(kind)]; }

Result<std::array<MeshDimension, 5>> parse_order(std::string_view order) {
  std::array<MeshDimension, 5> dimensions{};
  std::array<bool, 5> seen{};
  const auto tokens = split(order, '-');
  const std::string hint = "name each of tp, cp, ep, dp, pp once, innermost first, as in tp-cp-ep-dp-pp";
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto found = std::find(kDimensionNames.begin(), kDimensionNames.end(), tokens[i]);
    if (found == kDimensionNames.end())
      return invalid_input(fmt::format("order '{}' has the unknown dimension '{}'", order, tokens[i]), {}, hint);
    const auto index = static_cast<std::size_t>(found - kDimensionNames.begin());
    if (seen[index]) return invalid_input(fmt::format("order '{}' names '{}' twice", order, tokens[i]), {}, hint);
    seen[index] = true;
    dimensions[i] = static_cast<MeshDimension>(index);  // i < 5: a sixth token is unknown or a repetition
  }
  for (std::size_t index = 0; index < seen.size(); ++index)
    if (!seen[index])
      return invalid_input(fmt::format("order '{}' does not name '{}'", order, kDimensionNames[index]), {}, hint);
  return dimensions;
}

Status check_layout(const LayoutSpec& spec, int world) {
  MOESIM_TRY(check_sizes(spec.sizes));
  MOESIM_TRY(check_world(spec.sizes, world));
  MOESIM_TRY(parse_order(spec.order));
  return check_device_map(spec.device_map, world);
}

bool meshes_nest_alike(const LayoutSpec& spec) {
  const auto order = parse_order(spec.order);
  if (!order) return false;
  std::int64_t dense = 1, expert = 1;
  for (const MeshDimension dimension : *order) {
    if (dimension == MeshDimension::kPp) break;
    dense *= dense_extents(spec.sizes)[dimension];
    expert *= expert_extents(spec.sizes)[dimension];
  }
  return dense == expert || spec.sizes.pp == 1;
}

Result<Layout> Layout::make(const LayoutSpec& spec, int world) {
  MOESIM_TRY(check_layout(spec, world));
  Layout layout;
  layout.spec_ = spec;
  layout.world_ = world;
  MOESIM_ASSIGN(layout.order_, parse_order(spec.order));
  layout.place_ranks();
  for (int kind = 0; kind < kGroupKinds; ++kind) layout.build_groups(static_cast<GroupKind>(kind));
  return layout;
}

// Counts the coordinates of both meshes up like the wheels of an odometer, one logical rank after the other.
void Layout::place_ranks() {
  const Extents dense = dense_extents(spec_.sizes), expert = expert_extents(spec_.sizes);
  const std::size_t per_stage = static_cast<std::size_t>(world_ / spec_.sizes.pp);
  std::vector<std::array<int, 5>> expert_at(per_stage);  // by position among the ranks of a stage
  std::array<int, 5> wheel{};
  const auto advance = [this](std::array<int, 5>& wheels, const Extents& extents, bool with_pp) {
    for (const MeshDimension dimension : order_) {
      if (dimension == MeshDimension::kPp && !with_pp) continue;
      int& digit = wheels[static_cast<std::size_t>(dimension)];
      if (++digit < extents[dimension]) return;
      digit = 0;
    }
  };
  for (auto& coordinates : expert_at) {
    coordinates = wheel;
    advance(wheel, expert, false);
  }
  coordinates_.resize(static_cast<std::size_t>(world_));
  by_stage_.resize(static_cast<std::size_t>(world_));
  std::vector<std::size_t> filled(static_cast<std::size_t>(spec_.sizes.pp), 0);
  wheel = {};
  for (std::int32_t logical = 0; logical < world_; ++logical) {
    const RankId rank =
        spec_.device_map.empty() ? RankId(logical) : spec_.device_map[static_cast<std::size_t>(logical)];
    const auto stage = static_cast<std::size_t>(wheel[4]);
    const std::size_t position = filled[stage]++;
    const auto& e = expert_at[position];
    coordinates_[rank.index()] = {wheel[0], wheel[1], wheel[3], wheel[4], e[0], e[2], e[3]};
    by_stage_[stage * per_stage + position] = rank;
    advance(wheel, dense, true);
  }
  if (!spec_.device_map.empty())
    for (std::size_t first = 0; first < by_stage_.size(); first += per_stage)
      std::sort(by_stage_.begin() + static_cast<std::ptrdiff_t>(first),
                by_stage_.begin() + static_cast<std::ptrdiff_t>(first + per_stage));
}

namespace {

// Groups of a kind that an EP group is divided into.
int parts_of_ep(GroupKind kind, const ParallelSizes& sizes) {
  if (kind == GroupKind::kEpAcross) return sizes.ep_on_node;
  return kind == GroupKind::kEpInside ? sizes.ep / sizes.ep_on_node : 1;
}

}  // namespace

// A group is found by the coordinates that stay fixed; visiting the ranks in logical order numbers the groups by their
// first member and lists the members by coordinate. Mirrored stages have the smaller one's number in common.
void Layout::build_groups(GroupKind kind) {
  const Varies varies = varying(kind);
  const Extents extents = varies.dense ? dense_extents(spec_.sizes) : expert_extents(spec_.sizes);
  const bool mirrored = kind == GroupKind::kMirror;
  const auto world = static_cast<std::size_t>(world_);
  Groups& groups = groups_[static_cast<std::size_t>(kind)];
  groups.members.resize(world);
  groups.group_of.resize(world);
  groups.index_of.resize(world);
  const int run = spec_.sizes.ep_on_node;
  const auto parts = static_cast<std::size_t>(parts_of_ep(kind, spec_.sizes));
  std::size_t keys = mirrored ? static_cast<std::size_t>(spec_.sizes.pp) : parts;
  for (std::size_t d = 0; d < 5; ++d) keys *= varies.along[d] ? 1 : static_cast<std::size_t>(extents.size[d]);
  std::vector<std::int32_t> number(keys, -1);  // by fixed coordinates
  std::vector<std::int32_t> sizes;
  const auto physical = [this](std::size_t logical) {
    return spec_.device_map.empty() ? RankId(static_cast<std::int32_t>(logical)) : spec_.device_map[logical];
  };
  for (std::size_t logical = 0; logical < world; ++logical) {
    const RankId rank = physical(logical);
    const Coordinates& c = coordinates_[rank.index()];
    const std::array<int, 5> at =
        varies.dense ? std::array<int, 5>{c.tp, c.cp, 0, c.dp, c.pp} : std::array<int, 5>{c.esp, 0, c.ep, c.edp, c.pp};
    std::size_t key = mirrored ? static_cast<std::size_t>(std::min(c.pp, spec_.sizes.pp - 1 - c.pp)) : 0;
    if (parts > 1) key = static_cast<std::size_t>(kind == GroupKind::kEpAcross ? c.ep % run : c.ep / run);
    for (std::size_t d = 0; d < 5; ++d)
      if (!varies.along[d]) key = key * static_cast<std::size_t>(extents.size[d]) + static_cast<std::size_t>(at[d]);
    if (number[key] < 0) {
      number[key] = static_cast<std::int32_t>(sizes.size());
      sizes.push_back(0);
    }
    groups.group_of[rank.index()] = number[key];
    groups.index_of[rank.index()] = sizes[static_cast<std::size_t>(number[key])]++;
  }
  groups.size = *std::max_element(sizes.begin(), sizes.end());
  groups.begin.assign(1, 0);
  for (const std::int32_t size : sizes) groups.begin.push_back(groups.begin.back() + size);
  for (std::size_t logical = 0; logical < world; ++logical) {
    const RankId rank = physical(logical);
    const std::int32_t first = groups.begin[static_cast<std::size_t>(groups.group_of[rank.index()])];
    groups.members[static_cast<std::size_t>(first + groups.index_of[rank.index()])] = rank;
  }
}

std::span<const RankId> Layout::group(GroupKind kind, RankId rank) const {
  return group_at(kind, group_index(kind, rank));
}

int Layout::index_in_group(GroupKind kind, RankId rank) const {
  return groups_[static_cast<std::size_t>(kind)].index_of[rank.index()];
}

int Layout::group_size(GroupKind kind) const { return groups_[static_cast<std::size_t>(kind)].size; }

int Layout::group_count(GroupKind kind) const {
  return static_cast<int>(groups_[static_cast<std::size_t>(kind)].begin.size()) - 1;
}

std::span<const RankId> Layout::group_at(GroupKind kind, int index) const {
  const Groups& groups = groups_[static_cast<std::size_t>(kind)];
  const auto at = static_cast<std::size_t>(index);
  return std::span(groups.members)
      .subspan(static_cast<std::size_t>(groups.begin[at]),
               static_cast<std::size_t>(groups.begin[at + 1] - groups.begin[at]));
}

int Layout::group_index(GroupKind kind, RankId rank) const {
  return groups_[static_cast<std::size_t>(kind)].group_of[rank.index()];
}

std::span<const RankId> Layout::stage_ranks(StageId stage) const {
  const auto size = by_stage_.size() / static_cast<std::size_t>(spec_.sizes.pp);
  return std::span(by_stage_).subspan(stage.index() * size, size);
}

}  // namespace moesim
