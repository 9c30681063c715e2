#include "sim/simulate/moe_choice.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "base/text.hpp"
#include "sim/lower/ep_nodes.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "sim/lower/shadow_counts.hpp"

namespace moesim {
namespace {

constexpr double kWorthSaying = 0.05;  // of the largest difference

// A program: by the name of its schedule, its numbers of pieces and of shadowed experts.
struct Looked {
  std::string_view name;
  int degree = 1;
  int backward_degree = 1;
  int shadows = 0;
  bool operator==(const Looked&) const = default;
};

bool is_listed(const std::vector<Looked>& looked_at, const Looked& one) {
  return std::find(looked_at.begin(), looked_at.end(), one) != looked_at.end();
}

// The plan under another schedule: its own shadowed experts and nodes of the EP group are those of its own schedule.
Result<Plan> plan_under(const MoeSchedule& schedule, Plan plan, const ClusterView& view) {
  if (plan.moe_schedule == schedule.name()) return plan;
  plan.moe_schedule = schedule.name();
  plan.moe_shadows = 0;
  return with_ep_nodes(std::move(plan), view);
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
  const int own_backward = moe_backward_degree(*own, plan);
  // The plan's own program under whichever name.
  std::vector<Looked> looked_at;
  for (std::string_view name = own->name(); !name.empty();) {
    looked_at.push_back({name, own_degree, own_backward, plan.moe_shadows});
    MOESIM_ASSIGN(const MoeSchedule* same, find_moe_schedule(name));
    name = same->same_as(plan, *shape);
  }
  const auto play = [&](const Plan& other, int degree, int backward) -> Result<MoeAlternative> {
    MOESIM_ASSIGN(const SimulatedStep step, simulate_step(other, model, costs, trace, options));
    return MoeAlternative{other.moe_schedule, degree, backward, other.moe_shadows, false, step.metrics};
  };
  MOESIM_ASSIGN(MoeAlternative as_it_is, play(plan, own_degree, own_backward));
  as_it_is.own = true;
  found.push_back(std::move(as_it_is));
  const std::vector<int> few = options.loads->balanced ? std::vector<int>{0} : few_shadows(*shape);
  for (const MoeSchedule* schedule : moe_schedules()) {
    MOESIM_ASSIGN(Plan other, plan_under(*schedule, plan, costs.view()));
    other.moe_degree = other.moe_backward_degree = 0;
    if (!check_moe_schedule(*schedule, other, *shape)) continue;
    std::optional<MoeAlternative> best;
    for (const int degree : schedule->degrees(other)) {
      other.moe_degree = degree;
      for (const int shadows : possible_shadows(*schedule, other, *shape, few)) {
        other.moe_shadows = shadows;
        const Looked one{schedule->name(), degree, degree, shadows};
        const Looked same{schedule->same_as(other, *shape), degree, degree, shadows};
        const bool known = is_listed(looked_at, one) || is_listed(looked_at, same);
        looked_at.push_back(one);
        if (known) continue;
        MOESIM_ASSIGN(MoeAlternative played, play(other, degree, degree));
        if (!best || played.metrics.step_time < best->metrics.step_time) best = std::move(played);
      }
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
