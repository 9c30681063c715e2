#include "sim/cli/space_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "models/precision.hpp"
#include "sim/cli/number_range.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "sim/lower/shadow_counts.hpp"
#include "sim/pipeline/schedules.hpp"

namespace moesim {
namespace {

constexpr std::string_view kAllSchedules = "all";

template <class Schedules>
std::vector<std::string> names_of(const Schedules& schedules) {
  std::vector<std::string> names;
  for (const auto* schedule : schedules) names.emplace_back(schedule->name());
  return names;
}

Result<std::vector<int>> whole_numbers(std::string_view option, const Result<SweepAxis>& axis) {
  if (!axis) return usage_error(fmt::format("{}: {}", option, axis.error().what), axis.error().hint);
  std::vector<int> numbers;
  for (const AxisValue& value : axis->values) numbers.push_back(static_cast<int>(std::get<std::int64_t>(value)));
  return numbers;
}

std::vector<int>* numbers_of(SearchSpace& space, SweepField field) {
  switch (field) {
    case SweepField::kTp: return &space.tp;
    case SweepField::kCp: return &space.cp;
    case SweepField::kPp: return &space.pp;
    case SweepField::kVpp: return &space.vpp;
    case SweepField::kEp: return &space.ep;
    case SweepField::kEsp: return &space.esp;
    case SweepField::kMicroBatch: return &space.micro_batch;
    case SweepField::kMoeDegree: return &space.moe_degree;
    case SweepField::kMoeBackwardDegree: return &space.moe_backward_degree;
    case SweepField::kMoeShadows: return &space.moe_shadows;
    default: return nullptr;
  }
}

Status narrow(SearchSpace& space, SweepField field, const std::string& text) {
  const std::string_view option = sweep_fields()[static_cast<std::size_t>(field)].options;
  if (field == SweepField::kMoeSchedule && text == kAllSchedules) {
    space.moe_schedule = names_of(moe_schedules());
    return {};
  }
  const Result<SweepAxis> axis = parse_axis(field, text);
  if (std::vector<int>* numbers = numbers_of(space, field)) {
    MOESIM_ASSIGN(*numbers, whole_numbers(option, axis));
    const bool pieces = field == SweepField::kMoeDegree || field == SweepField::kMoeBackwardDegree;
    if (pieces && std::ranges::find(*numbers, 0) != numbers->end())
      return usage_error(fmt::format("{}: a search names numbers of pieces, and 0 is none", option),
                         field == SweepField::kMoeDegree ? "leave it out to search all that each schedule can"
                                                         : "leave it out for as many as in the forward pass");
    return {};
  }
  if (!axis) return usage_error(fmt::format("{}: {}", option, axis.error().what), axis.error().hint);
  std::vector<std::string> words;
  for (const AxisValue& value : axis->values) words.push_back(std::get<std::string>(value));
  if (field == SweepField::kPipeline) space.pipeline = words;
  if (field == SweepField::kMoeSchedule) space.moe_schedule = words;
  if (field == SweepField::kAllToAll) {
    space.all_to_all.clear();
    for (const std::string& word : words) {
      MOESIM_ASSIGN(const ExchangeAlgorithm algorithm, find_exchange_algorithm(word));
      space.all_to_all.push_back(algorithm);
    }
  }
  if (field == SweepField::kRecompute)
    std::erase_if(space.recompute,
                  [&](Recompute r) { return std::find(words.begin(), words.end(), recompute_name(r)) == words.end(); });
  return {};
}

CLI::Option* add_filter(CLI::App& command, const std::string& names, std::string& target,
                        const std::string& description) {
  return command.add_option(names, target, description)->option_text("VALUES")->group("Narrow the space");
}

std::vector<std::string> precision_names() {
  std::vector<std::string> names;
  for (const PrecisionRecipe& recipe : precision_recipes()) names.emplace_back(recipe.name);
  return names;
}

}  // namespace

void add_batch_options(CLI::App& command, SpaceOptions& options, BatchOption batch) {
  command.add_option("--seq", options.seq_length, "Tokens of a sequence")
      ->option_text("L")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100'000'000}))
      ->default_str("4096");
  command.add_option("--global-batch", options.global_batch, "Sequences of a step")
      ->option_text("SEQS")
      ->check(CLI::Range(1, 100'000'000))
      ->required(batch == BatchOption::kRequired);
}

void add_wire_options(CLI::App& command, Session& session, WireOptions& options, const std::string& group) {
  const std::vector<std::string> formats = {"none", "bf16", "fp8"};
  for (const auto& [name, target, what] :
       {std::tuple("--moe-dispatch-format", &options.dispatch,
                   "Of token rows on their way to the experts; changes what is trained"),
        std::tuple("--moe-combine-format", &options.combine,
                   "Of their results on the way back; changes what is trained")}) {
    CLI::Option* option = session.add_choice(command, name, *target, formats, what)->default_str(*target);
    if (!group.empty()) option->group(group);
  }
  CLI::Option* share =
      command
          .add_option("--comm-sm-share", options.comm_sm_share,
                      "Part of the compute units that an exchange holds; without it by the law of overlap")
          ->option_text("F")
          ->check(number_in(0.0, kMostCommSmShare));
  if (!group.empty()) share->group(group);
}

Result<WireChoice> wire_choice(const WireOptions& options) {
  MOESIM_ASSIGN(const WireFormat dispatch, find_wire_format(options.dispatch));
  MOESIM_ASSIGN(const WireFormat combine, find_wire_format(options.combine));
  return WireChoice{dispatch, combine};
}

void add_format_options(CLI::App& command, Session& session, SpaceOptions& options) {
  session.add_choice(command, "--precision", options.precision, precision_names(), "How a run computes and stores")
      ->default_str(options.precision);
  command
      .add_option("--capacity-factor", options.capacity_factor, "Drop what exceeds it; without it nothing is dropped")
      ->option_text("F")
      ->check(number_in(0.0, 1e6));
  add_wire_options(command, session, options.wire, {});
}

void add_space_filters(CLI::App& command, Session& session, SpaceOptions& options) {
  for (std::size_t i = 0; i < kSpaceFilters.size(); ++i) {
    const FieldTraits& traits = sweep_fields()[static_cast<std::size_t>(kSpaceFilters[i])];
    CLI::Option* option =
        add_filter(command, std::string(traits.options), options.filters[i], std::string(traits.description));
    if (kSpaceFilters[i] == SweepField::kPipeline) session.suggest(option, names_of(pipeline_schedules()));
    if (kSpaceFilters[i] == SweepField::kMoeSchedule) {
      std::vector<std::string> names = names_of(moe_schedules());
      names.emplace_back(kAllSchedules);
      session.suggest(option, std::move(names));
    }
    if (kSpaceFilters[i] == SweepField::kAllToAll) session.suggest(option, exchange_algorithm_names());
    if (kSpaceFilters[i] == SweepField::kRecompute) session.suggest(option, {"none", "selective", "full"});
  }
  add_filter(command, "--zero", options.zero, "ZeRO stages");
}

Result<SearchSpace> space_for(const SpaceOptions& options, const Scenario& scenario) {
  SearchSpace space = default_space(scenario.model.shape, *scenario.view, options.seq_length, options.global_batch);
  space.precision = options.precision;
  space.capacity_factor = options.capacity_factor;
  // Without a trace no expert is hot.
  if (const MoeShape* moe = scenario.model.shape.first_moe(); moe != nullptr && scenario.loads() != nullptr)
    space.moe_shadows = few_shadows(*moe);
  MOESIM_ASSIGN(const WireChoice wire, wire_choice(options.wire));
  space.moe_dispatch_format = wire.dispatch;
  space.moe_combine_format = wire.combine;
  space.comm_sm_share = options.wire.comm_sm_share;
  for (std::size_t i = 0; i < kSpaceFilters.size(); ++i) {
    if (options.filters[i].empty()) continue;
    MOESIM_TRY(narrow(space, kSpaceFilters[i], options.filters[i]));
  }
  if (options.zero.empty()) return space;
  MOESIM_ASSIGN(const std::vector<int> stages,
                whole_numbers("--zero", parse_axis(SweepField::kZeroDense, options.zero)));
  space.zero_dense.clear();
  for (const int stage : stages) space.zero_dense.push_back(static_cast<ZeroStage>(stage));
  if (scenario.model.shape.first_moe() != nullptr) space.zero_expert = space.zero_dense;
  return space;
}

}  // namespace moesim
