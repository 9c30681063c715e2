#include "sim/cli/commands/layer_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "sim/cli/number_range.hpp"
#include "sim/cli/sources.hpp"
#include "sim/layer/grid.hpp"
#include "sim/lower/ep_nodes.hpp"
#include "sim/lower/moe_schedule.hpp"

namespace moesim {
namespace {

// The model layer asked for, and its number among the MoE layers.
Result<std::pair<LayerId, int>> chosen_layer(const ModelShape& model, int layer) {
  int moe_layer = 0;
  for (int i = 0; i < model.layer_count(); ++i) {
    const bool moe = model.layer(LayerId(i)).moe.has_value();
    if (layer < 0 ? moe : i == layer) {
      if (moe) return std::pair(LayerId(i), moe_layer);
      return usage_error(fmt::format("--layer: layer {} of {} has no experts", layer, model.name),
                         "without --layer it is the first MoE layer");
    }
    moe_layer += moe ? 1 : 0;
  }
  if (layer < 0) return usage_error(fmt::format("{} has no MoE layer", model.name), "name a model with experts");
  return usage_error(fmt::format("--layer: {} has {} layers, the last is {}", model.name, model.layer_count(),
                                 model.layer_count() - 1));
}

Status no_plain_sizes(const LayerRequest& request) {
  if (request.hidden == 0 && request.expert_width == 0 && request.experts == 0 && !request.gated) return {};
  return usage_error("--hidden, --expert-width, --experts and --gated describe a layer of no model",
                     "leave them out, or leave --model out");
}

Result<ModelShape> plain_layer(const LayerRequest& request) {
  if (request.hidden == 0 || request.expert_width == 0 || request.experts == 0)
    return usage_error("neither a model nor the sizes of a layer are named",
                       "give --model, or --hidden, --expert-width and --experts");
  if (request.layer >= 0) return usage_error("--layer: a layer of plain sizes is the only one", "leave --layer out");
  MoeShape moe;
  moe.experts = request.experts;
  moe.top_k = request.sources.import.top_k > 0 ? request.sources.import.top_k : 2;
  if (moe.top_k > moe.experts) return usage_error(fmt::format("--top-k: {} of {} experts", moe.top_k, moe.experts));
  moe.expert = {.width = request.expert_width, .gated = request.gated};
  return one_layer_model(request.hidden, moe);
}

}  // namespace

LayerOptions LayerRequest::options() const {
  LayerOptions options;
  options.boundary = boundary == "sliced" ? LayerBoundary::kSliced : LayerBoundary::kWhole;
  options.passes = forward_only ? LayerPasses::kForward : LayerPasses::kForwardAndBackward;
  options.gradients = reduce_gradients ? LayerGradients::kReduced : LayerGradients::kExcluded;
  return options;
}

bool LayerRequest::names_a_layer() const {
  LayerRequest bare;
  return !sources.model.empty() || !sources.cluster.empty() || sources.nodes > 0 || !sources.trace.empty() ||
         sources.trace_step >= 0 || !(sources.import == ImportOptions{}) || layer >= 0 || hidden > 0 ||
         expert_width > 0 || experts > 0 || gated || batch != bare.batch || seq != bare.seq || capacity_factor > 0 ||
         all_to_all != bare.all_to_all || !(wire == bare.wire) || sources.regime != bare.sources.regime ||
         precision != bare.precision || tp != bare.tp || esp != bare.esp || ep > 0 || !figures.empty();
}

void add_layer_options(CLI::App& command, Session& session, LayerRequest& request) {
  add_scenario_options(command, session, request.sources, SourceOptions::kOverridePlan);
  add_regime_option(command, session, request.sources);
  const auto number = [&](const char* name, auto& target, std::int64_t most, const char* description,
                          const char* group) {
    return command.add_option(name, target, description)
        ->option_text("N")
        ->check(CLI::Range(std::int64_t{1}, most))
        ->group(group);
  };
  constexpr const char* kLayer = "Layer";
  command.add_option("--layer", request.layer, "Of the model, from 0; without it the first MoE layer")
      ->option_text("N")
      ->check(CLI::Range(0, static_cast<int>(ShapeLimits::kLayers)))
      ->group(kLayer);
  number("--hidden", request.hidden, ShapeLimits::kHidden, "Width of the tokens, where no model is named", kLayer);
  number("--expert-width", request.expert_width, ShapeLimits::kWidth, "Intermediate size of an expert", kLayer);
  number("--experts", request.experts, ShapeLimits::kExperts,
         "How many there are; --top-k says how many a token uses, 2", kLayer);
  command.add_flag("--gated", request.gated, "Experts of three matrices (SwiGLU) instead of two")->group(kLayer);
  number("--batch", request.batch, 1'000'000, "Sequences of a TP group", kLayer)->default_str("1");
  number("--seq", request.seq, 100'000'000, "Tokens of a sequence", kLayer)->default_str("4096");
  command
      .add_option("--capacity-factor", request.capacity_factor,
                  "Buffers of this times the even share, padded; without it exactly what the gate chose is sent")
      ->option_text("F")
      ->check(number_in(0.0, 1e6))
      ->group(kLayer);
  std::vector<std::string> precisions;
  for (const PrecisionRecipe& recipe : precision_recipes()) precisions.emplace_back(recipe.name);
  session.add_choice(command, "--precision", request.precision, std::move(precisions), "How it computes and stores")
      ->default_str(request.precision)
      ->group(kLayer);
  constexpr const char* kLayout = "Layout";
  number("--tp", request.tp, kLargestWorld, "Tensor parallelism of the layers around it (Parm's N_MP)", kLayout)
      ->default_str("1");
  number("--esp", request.esp, kLargestWorld, "Shards of an expert (Parm's N_ESP)", kLayout)->default_str("1");
  number("--ep", request.ep, kLargestWorld, "Ranks that share the experts; as many as experts and ranks allow",
         kLayout);
  session
      .add_choice(command, "--all-to-all", request.all_to_all, exchange_algorithm_names(),
                  "Algorithm of the token exchange in the tables; all are compared below them")
      ->default_str(request.all_to_all)
      ->group(kLayout);
  add_wire_options(command, session, request.wire, kLayout);
  constexpr const char* kCounted = "What is counted";
  session
      .add_choice(command, "--boundary", request.boundary, {"whole", "sliced"},
                  "Around the layer TP ranks hold all tokens (whole) or their own (sliced)")
      ->default_str("whole")
      ->group(kCounted);
  command.add_flag("--forward-only", request.forward_only, "No backward pass")->group(kCounted);
  command.add_flag("--reduce-gradients", request.reduce_gradients, "With the data-parallel reduction of its gradients")
      ->group(kCounted);
  CLI::Option* baseline = command
                              .add_option("--baseline", request.baseline,
                                          "Schedule that speed-ups are over; the first that can run the layer")
                              ->option_text("SCHEDULE")
                              ->group(kCounted);
  std::vector<std::string> names;
  for (const MoeSchedule* schedule : moe_schedules()) names.emplace_back(schedule->name());
  session.suggest(baseline, std::move(names));
  constexpr const char* kGrid = "Grids and figures";
  CLI::Option* grid =
      command.add_option("--grid", request.grid, "builtin:NAME or a file of value lists (docs/layer.md)")
          ->option_text("GRID")
          ->group(kGrid);
  std::vector<std::string> grids;
  for (const std::string& name : builtin_grid_names()) grids.push_back(std::string(kBuiltinPrefix) + name);
  session.suggest(grid, std::move(grids));
  command
      .add_option("--plot", request.plot,
                  "Write a figure, SVG or PNG: timelines of a layer; speed-ups and winners of a grid")
      ->option_text("FILE.svg|png")
      ->group(kGrid);
  command.add_option("--figures", request.figures, "Write a timeline of each schedule to this folder, NAME.svg")
      ->option_text("FOLDER")
      ->group(kGrid);
  command.add_option("-j,--jobs", request.jobs, "Threads of a grid; the result does not depend on it")
      ->option_text("N")
      ->check(CLI::Range(1, 1024))
      ->group(kGrid);
}

Result<LayerScenario> load_layer_scenario(const LayerRequest& request) {
  LayerScenario layer;
  if (request.sources.model.empty()) {
    LoadedModel plain;
    MOESIM_ASSIGN(plain.shape, plain_layer(request));
    layer.model = plain.shape;
    ScenarioSources sources = request.sources;
    if (sources.trace.empty()) sources.import.top_k = 0;  // it was the layer's
    MOESIM_ASSIGN(layer.scenario, load_scenario(sources, std::move(plain)));
    return layer;
  }
  MOESIM_TRY(no_plain_sizes(request));
  MOESIM_ASSIGN(layer.scenario, load_scenario(request.sources));
  const ModelShape& model = layer.scenario.model.shape;
  MOESIM_ASSIGN(const auto chosen, chosen_layer(model, request.layer));
  layer.model = one_layer_model(model, chosen.first);
  layer.moe_layers = model.moe_layer_count();
  layer.moe_layer = chosen.second;
  return layer;
}

Result<LayerCase> layer_case_of(const LayerRequest& request, const LayerScenario& scenario) {
  const int world = scenario.scenario.view->ranks();
  const MoeShape& moe = *scenario.model.first_moe();
  Plan plan;
  ParallelSizes& sizes = plan.layout.sizes;
  sizes.tp = request.tp;
  sizes.esp = request.esp;
  sizes.ep = request.ep > 0 ? request.ep
                            : static_cast<int>(std::gcd(moe.experts, std::int64_t{std::max(1, world / request.esp)}));
  sizes.dp = std::max(1, world / sizes.tp);
  sizes.edp = std::max(1, world / (sizes.ep * sizes.esp));
  Result<Layout> layout = Layout::make(plan.layout, world);
  if (!layout) {
    layout.error().kind = ErrorKind::kUsage;  // no file has said these sizes
    return tl::unexpected(std::move(layout.error()));
  }
  sizes.ep_on_node = ep_members_on_node(*layout, *scenario.scenario.view);
  plan.micro_batch = static_cast<int>(request.batch);
  plan.seq_length = request.seq;
  plan.precision = request.precision;
  plan.capacity_factor = request.capacity_factor;
  plan.pad_to_capacity = request.capacity_factor > 0;
  MOESIM_ASSIGN(plan.all_to_all, find_exchange_algorithm(request.all_to_all));
  MOESIM_ASSIGN(const WireChoice wire, wire_choice(request.wire));
  plan.moe_dispatch_format = wire.dispatch;
  plan.moe_combine_format = wire.combine;
  plan.comm_sm_share = request.wire.comm_sm_share;
  plan.zero_dense = plan.zero_expert = ZeroStage::kNone;
  return make_layer_case(scenario.model, plan, {scenario.scenario.loads(), scenario.moe_layers, scenario.moe_layer});
}

std::string layer_text(const LayerCase& layer) {
  const ParallelSizes& sizes = layer.plan.sizes();
  const MoeShape& moe = *layer.model.first_moe();
  return fmt::format("{} x {} tokens of {}, {} experts of {}, top-{}; TP {}, EP {}, ESP {} on {} ranks",
                     layer.plan.micro_batch, layer.plan.seq_length, layer.model.hidden, moe.experts, moe.expert.width,
                     moe.top_k, sizes.tp, sizes.ep, sizes.esp, sizes.world());
}

std::string boundary_note(const LayerCase& layer, const LayerOptions& options) {
  const char* gradients = options.gradients == LayerGradients::kReduced ? "with" : "without";
  if (layer.plan.sizes().tp == 1)
    return fmt::format("times are of the MoE block alone, {} the reduction of its gradients", gradients);
  return options.boundary == LayerBoundary::kWhole
             ? fmt::format(
                   "times are of the MoE block alone, {} the reduction of its gradients; every TP rank has all "
                   "tokens before and after it",
                   gradients)
             : fmt::format(
                   "times are of the MoE block alone, {} the reduction of its gradients; every TP rank has its "
                   "own tokens before and after it",
                   gradients);
}

}  // namespace moesim
