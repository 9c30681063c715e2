#include "sim/simulate/moe_choice.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/text.hpp"
#include "sim/lower/ep_nodes.hpp"
#include "sim/lower/moe_schedule.hpp"

namespace moesim {
namespace {

constexpr double kWorthSaying = 0.05;  // of the largest difference

bool is_listed(const std::vector<std::pair<std::string_view, int>>& looked_at, std::string_view name, int degree) {
  return std::find(looked_at.begin(), looked_at.end(), std::pair(name, degree)) != looked_at.end();
}

// The plan under another schedule: its shadowed experts are those of schedules that have any, and its nodes of the EP group too.
Result<Plan> plan_under(const MoeSchedule& schedule, Plan plan, const MoeShape& shape, const ClusterView& view) {
  const bool own = plan.moe_schedule == schedule.name();
  plan.moe_schedule = schedule.name();
  if (schedule.shadows(plan, shape) != plan.moe_shadows) plan.moe_shadows = 0;
  return own ? plan : with_ep_nodes(std::move(plan), view);
}

}  // namespace

Result<std::vector<MoeAlternative>> moe_alternatives(const Plan& plan, const ModelShape& model, const CostModel& costs,
                                                     const LoadMapper* trace) {
  std::vector<MoeAlternative> found;
  const MoeShape* shape = model.first_moe();
  if (shape == nullptr) return found;
  StepOptions options;
  MOESIM_ASSIGN(options.loads, loads_for(plan, model, trace, 1));
  MOESIM_ASSIGN(const MoeSchedule* own, find_moe_schedule(plan.moe_schedule));
  const int own_degree = moe_degree(*own, plan);
  // The plan's own program under whichever name.
  std::vector<std::pair<std::string_view, int>> looked_at;
  for (std::string_view name = own->name(); !name.empty();) {
    looked_at.emplace_back(name, own_degree);
    MOESIM_ASSIGN(const MoeSchedule* same, find_moe_schedule(name));
    name = same->same_as(plan, *shape);
  }
  const auto play = [&](const MoeSchedule& schedule, int degree) -> Result<MoeAlternative> {
    MOESIM_ASSIGN(Plan other, plan_under(schedule, plan, *shape, costs.view()));
    other.moe_degree = degree;
    MOESIM_ASSIGN(const SimulatedStep step, simulate_step(other, model, costs, trace, options));
    return MoeAlternative{other.moe_schedule, degree, false, step.metrics};
  };
  MOESIM_ASSIGN(MoeAlternative as_it_is, play(*own, own_degree));
  as_it_is.own = true;
  found.push_back(std::move(as_it_is));
  for (const MoeSchedule* schedule : moe_schedules()) {
    MOESIM_ASSIGN(Plan other, plan_under(*schedule, plan, *shape, costs.view()));
    if (!schedule->check(other, *shape)) continue;
    std::optional<MoeAlternative> best;
    for (const int degree : schedule->degrees(other)) {
      other.moe_degree = degree;
      const bool known = is_listed(looked_at, schedule->name(), degree) ||
                         is_listed(looked_at, schedule->same_as(other, *shape), degree);
      looked_at.emplace_back(schedule->name(), degree);
      if (known) continue;
      MOESIM_ASSIGN(MoeAlternative played, play(*schedule, degree));
      if (!best || played.metrics.step_time < best->metrics.step_time) best = std::move(played);
    }
    if (best) found.push_back(std::move(*best));
  }
  std::stable_sort(found.begin(), found.end(), [](const MoeAlternative& a, const MoeAlternative& b) {
    return a.metrics.step_time < b.metrics.step_time;
  });
  return found;
}

std::string difference_text(const StepMetrics& a, const StepMetrics& b) {
  struct Term {
    double more = 0;  // seconds of a over those of b
    std::string what;
  };
  std::vector<Term> terms;
  for (int c = 0; c < kCategories; ++c) {
    const auto i = static_cast<std::size_t>(c);
    const std::string name(category_description(static_cast<Category>(c)));
    terms.push_back({(a.breakdown.compute[i] - b.breakdown.compute[i]).value(), name});
    terms.push_back({(a.breakdown.exposed[i] - b.breakdown.exposed[i]).value(),
                     static_cast<Category>(c) == Category::kPpComm ? name : name + " exposed"});
  }
  std::stable_sort(terms.begin(), terms.end(),
                   [](const Term& x, const Term& y) { return std::abs(x.more) > std::abs(y.more); });
  std::string text;
  for (const Term& term : terms) {
    if (term.more == 0 || std::abs(term.more) < kWorthSaying * std::abs(terms.front().more)) break;
    text += fmt::format("{}{} {} {}", text.empty() ? "" : ", ", term.what, humanize(Seconds(std::abs(term.more))),
                        term.more < 0 ? "less" : "more");
  }
  return text.empty() ? std::string("nothing") : text;
}

}  // namespace moesim
