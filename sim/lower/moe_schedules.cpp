// The list of MoE-layer schedules. Adding one: write its file, add it here.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/text.hpp"
#include "sim/lower/moe_comet.hpp"
#include "sim/lower/moe_deepep.hpp"
#include "sim/lower/moe_deepspeed_moe.hpp"
#include "sim/lower/moe_deepspeed_v0.hpp"
#include "sim/lower/moe_deepspeed_v1.hpp"
#include "sim/lower/moe_fastermoe.hpp"
#include "sim/lower/moe_fastmoe.hpp"
#include "sim/lower/moe_fsmoe.hpp"
#include "sim/lower/moe_janus.hpp"
#include "sim/lower/moe_megatron_a2a.hpp"
#include "sim/lower/moe_megatron_allgather.hpp"
#include "sim/lower/moe_parm_s1.hpp"
#include "sim/lower/moe_parm_s2.hpp"
#include "sim/lower/moe_pipemoe.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "sim/lower/moe_schemoe.hpp"
#include "sim/lower/moe_tutel.hpp"

namespace moesim {
namespace {

std::vector<const MoeSchedule*>& schedule_list() {
  static std::vector<const MoeSchedule*> list = {&megatron_a2a(),
                                                 &parm_s1(),
                                                 &parm_s2(),
                                                 &deepspeed_moe(),
                                                 &deepspeed_moe_ar(),
                                                 &deepspeed_v0(),
                                                 &deepspeed_v1(),
                                                 &megatron_allgather(),
                                                 &pipemoe(),
                                                 &schemoe(),
                                                 &fsmoe(),
                                                 &tutel(),
                                                 &fastmoe(),
                                                 &fastermoe(),
                                                 &janus(),
                                                 &comet(),
                                                 &deepep()};
  return list;
}

// What stands in a plan is no fault of the command line.
template <class Outcome>
Outcome as_invalid_input(Outcome outcome) {
  if (!outcome) outcome.error().kind = ErrorKind::kInvalidInput;
  return outcome;
}

Status check_degree(const MoeSchedule& schedule, const Plan& plan, int degree, std::string_view key,
                    std::string_view what_0_is) {
  const std::vector<int> degrees = schedule.degrees(plan);
  if (degree == 0 || std::ranges::find(degrees, degree) != degrees.end()) return {};
  return invalid_input(fmt::format("{} cannot cut token copies into {} pieces here", schedule.name(), degree), {},
                       fmt::format("set \"{}\" to {}, or to 0 for {}", key, fmt::join(degrees, ", "), what_0_is));
}

// "a" or "a or b": those of the list that can.
template <class Can>
std::string names_of(Can can) {
  std::vector<std::string_view> names;
  for (const MoeSchedule* schedule : schedule_list())
    if (can(*schedule)) names.push_back(schedule->name());
  return fmt::format("{}", fmt::join(names, " or "));
}

// Whose copies an expert's token copies can be dealt out over.
Status check_guests(const MoeSchedule& schedule, const Plan& plan, const MoeShape& shape) {
  constexpr const char* kHint = "let expert_slots have each expert once, or take megatron-a2a";
  if (!schedule.deals_copies())
    return invalid_input(
        fmt::format("{} does not deal a source's token copies out over several slots of an expert", schedule.name()),
        {}, kHint);
  if (schedule.shadows(plan, shape) > 0)
    return invalid_input(
        fmt::format("{} computes copies for {} experts of each layer where they are; dealing those out over several "
                    "slots as well is not possible",
                    schedule.name(), schedule.shadows(plan, shape)),
        {}, kHint);
  return {};
}

}  // namespace

std::span<const MoeSchedule* const> moe_schedules() { return schedule_list(); }

void add_moe_schedule(const MoeSchedule& schedule) { schedule_list().push_back(&schedule); }

Status check_moe_schedule(const MoeSchedule& schedule, const Plan& plan, const MoeShape& shape) {
  MOESIM_TRY(as_invalid_input(schedule.check(plan, shape)));
  if (plan.moe_shadows > 0 && schedule.shadows(plan, shape) != plan.moe_shadows)
    return invalid_input(fmt::format("{} shadows no experts", schedule.name()), {},
                         fmt::format("leave \"moe_shadows\" out, or take {}", names_of([&](const MoeSchedule& other) {
                                       return other.shadows(plan, shape) == plan.moe_shadows;
                                     })));
  if (plan.expert_slots.has_spare(shape.experts)) {
    MOESIM_TRY(check_guests(schedule, plan, shape));
  }
  if (plan.sizes().ep_on_node > 1 && !schedule.visits())
    return invalid_input(
        fmt::format("{} knows no nodes of an EP group, but ep_on_node is {}", schedule.name(), plan.sizes().ep_on_node),
        {}, fmt::format("leave \"ep_on_node\" out of the layout, or take {}", names_of([](const MoeSchedule& other) {
                          return other.visits();
                        })));
  MOESIM_TRY(check_degree(schedule, plan, plan.moe_degree, "moe_degree", "the first of these"));
  return check_degree(schedule, plan, plan.moe_backward_degree, "moe_backward_degree", "as many as forward");
}

int moe_degree(const MoeSchedule& schedule, const Plan& plan) {
  return plan.moe_degree > 0 ? plan.moe_degree : schedule.degrees(plan).front();
}

int moe_backward_degree(const MoeSchedule& schedule, const Plan& plan) {
  return plan.moe_backward_degree > 0 ? plan.moe_backward_degree : moe_degree(schedule, plan);
}

bool is_in_one_piece(const MoeSchedule& schedule, const Plan& plan) {
  return moe_degree(schedule, plan) == 1 && moe_backward_degree(schedule, plan) == 1;
}

bool visits_are_estimated(const Plan& plan) {
  const auto schedule = find_moe_schedule(plan.moe_schedule);
  return plan.sizes().ep > 1 && schedule && (*schedule)->visits();
}

std::shared_ptr<const RoutedLoads> loads_of_schedule(const MoeSchedule& schedule,
                                                     std::shared_ptr<const RoutedLoads> own, const Plan& plan,
                                                     const ModelShape& model, const Layout& layout) {
  auto divided = divide_copies(std::move(own), plan, layout, schedule.division(plan));
  const MoeShape& shape = *model.first_moe();
  if (schedule.visits()) {
    const ParallelSizes& sizes = plan.sizes();
    return with_visits(std::move(divided), {sizes.ep, sizes.ep_on_node}, {shape.groups, shape.top_groups},
                       plan.expert_slots);
  }
  return with_shadows(std::move(divided), schedule.shadows(plan, shape));
}

Result<const MoeSchedule*> find_moe_schedule(std::string_view name) {
  std::vector<std::string> names;
  for (const MoeSchedule* schedule : moe_schedules()) {
    if (schedule->name() == name) return schedule;
    names.emplace_back(schedule->name());
  }
  return usage_error(fmt::format("unknown MoE schedule '{}'{}", name, did_you_mean(name, names)),
                     fmt::format("one of {}", fmt::join(names, ", ")));
}

Result<const MoeSchedule*> moe_schedule_of(const Plan& plan) {
  return as_invalid_input(find_moe_schedule(plan.moe_schedule));
}

}  // namespace moesim
