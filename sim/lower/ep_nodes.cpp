#include "sim/lower/ep_nodes.hpp"

#include "sim/lower/moe_schedule.hpp"

namespace moesim {
namespace {

bool on_one_node(const ClusterView& view, RankId a, RankId b) {
  if (view.node(a) == view.node(b)) return true;
  const LinkClass innermost = view.tiers().empty() ? LinkClass::kOther : view.tier(0).link;
  return (innermost == LinkClass::kNvlink || innermost == LinkClass::kXgmi) && view.meeting_tier(a, b) == 0;
}

bool runs_stand_together(const Layout& layout, const ClusterView& view, int run) {
  for (int group = 0; group < layout.group_count(GroupKind::kEp); ++group) {
    const auto members = layout.group_at(GroupKind::kEp, group);
    for (std::size_t i = 0; i < members.size(); ++i)
      if (!on_one_node(view, members[i - i % static_cast<std::size_t>(run)], members[i])) return false;
  }
  return true;
}

}  // namespace

int ep_members_on_node(const Layout& layout, const ClusterView& view) {
  const int ep = layout.sizes().ep;
  for (int run = ep; run > 1; --run)
    if (ep % run == 0 && runs_stand_together(layout, view, run)) return run;
  return 1;
}

Result<Plan> with_ep_nodes(Plan plan, const ClusterView& view) {
  const auto schedule = find_moe_schedule(plan.moe_schedule);
  if (!schedule) return plan;
  plan.layout.sizes.ep_on_node = 1;
  if (!(*schedule)->visits() || plan.sizes().ep == 1) return plan;
  MOESIM_ASSIGN(const Layout layout, Layout::make(plan.layout, view.ranks()));
  plan.layout.sizes.ep_on_node = ep_members_on_node(layout, view);
  return plan;
}

}  // namespace moesim
