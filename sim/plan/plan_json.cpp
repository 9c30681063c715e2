#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "base/json_reader.hpp"
#include "base/text.hpp"
#include "sim/pipeline/schedules.hpp"
#include "sim/plan/plan.hpp"

namespace moesim {
namespace {

constexpr int kPlanVersion = 1;
constexpr std::int64_t kMostNodes = kLargestWorld;
constexpr std::int64_t kLongestSequence = 1LL << 30;
constexpr std::int64_t kLargestMicroBatch = 1024;  // with kLargestWorld, micro_batch x dp stays in an int
constexpr std::int64_t kLargestBatch = 1LL << 30;
constexpr std::int64_t kMostLayers = 100'000;
constexpr std::int64_t kLargestBucket = 1LL << 50;
constexpr std::int64_t kMostExpertNumber = (1 << 24) - 1;  // that FP32 holds
constexpr double kLargestCapacity = 1e6;

Result<int> small_int_or(JsonReader& reader, std::string_view key, int fallback, std::int64_t smallest,
                         std::int64_t largest) {
  MOESIM_ASSIGN(const std::int64_t value, reader.int_or(key, fallback, smallest, largest));
  return static_cast<int>(value);
}

Result<int> size_or_one(JsonReader& layout, std::string_view key) {
  return small_int_or(layout, key, 1, 1, kLargestWorld);
}

// An error found by a rule gets the place in the file.
Status at(const JsonReader& reader, Status status) {
  if (status) return {};
  return reader.error(status.error().what, status.error().hint);
}

// edp follows from the other sizes; dp does not, as the file does not say how many ranks the cluster has.
Result<int> read_edp(JsonReader& layout, const ParallelSizes& s) {
  if (layout.has("edp")) return size_or_one(layout, "edp");
  static_cast<void>(layout.optional("edp"));  // makes the key known
  const std::int64_t dense =
      static_cast<std::int64_t>(s.tp) * s.cp;  // each below 2^20, and so the next product below 2^60
  const std::int64_t expert = static_cast<std::int64_t>(s.esp) * s.ep;
  if (dense * s.dp % expert != 0 || dense * s.dp / expert > kLargestWorld)
    return layout.error(fmt::format("tp x cp x dp ({} x {} x {}) must be a multiple of esp x ep ({} x {})", s.tp, s.cp,
                                    s.dp, s.esp, s.ep));
  return static_cast<int>(dense * s.dp / expert);
}

Result<ParallelSizes> read_sizes(JsonReader& layout, int default_vpp) {
  ParallelSizes s;
  MOESIM_ASSIGN(s.tp, size_or_one(layout, "tp"));
  MOESIM_ASSIGN(s.cp, size_or_one(layout, "cp"));
  MOESIM_ASSIGN(s.pp, size_or_one(layout, "pp"));
  MOESIM_ASSIGN(s.vpp, small_int_or(layout, "vpp", default_vpp, 1, 1024));
  MOESIM_ASSIGN(const std::int64_t dp, layout.required_int("dp", 1, kLargestWorld));
  s.dp = static_cast<int>(dp);
  MOESIM_ASSIGN(s.ep, size_or_one(layout, "ep"));
  MOESIM_ASSIGN(s.esp, size_or_one(layout, "esp"));
  MOESIM_ASSIGN(s.edp, read_edp(layout, s));
  MOESIM_ASSIGN(s.ep_on_node, size_or_one(layout, "ep_on_node"));
  return s;
}

Result<std::vector<RankId>> read_device_map(JsonReader& layout) {
  std::vector<RankId> map;
  const auto reader = layout.optional("device_map");
  if (!reader) return map;
  MOESIM_ASSIGN(const auto elements, reader->elements());
  for (const JsonReader& element : elements) {
    MOESIM_ASSIGN(const std::int64_t rank, element.as_int(0, kLargestWorld - 1));
    map.emplace_back(static_cast<std::int32_t>(rank));
  }
  return map;
}

Result<LayoutSpec> read_layout(JsonReader layout, int default_vpp) {
  LayoutSpec spec;
  MOESIM_ASSIGN(spec.sizes, read_sizes(layout, default_vpp));
  MOESIM_ASSIGN(spec.order, layout.string_or("order", spec.order));
  MOESIM_ASSIGN(spec.device_map, read_device_map(layout));
  MOESIM_TRY(layout.reject_unknown_keys());
  std::int64_t world = 1;
  for (const int size : {spec.sizes.tp, spec.sizes.cp, spec.sizes.pp, spec.sizes.dp}) {
    world *= size;
    if (world > kLargestWorld) return layout.error(fmt::format("tp x cp x pp x dp exceeds {} ranks", kLargestWorld));
  }
  MOESIM_TRY(at(layout, check_layout(spec, static_cast<int>(world))));
  return spec;
}

Result<std::vector<int>> read_stage_layers(JsonReader& root) {
  std::vector<int> layers;
  const auto reader = root.optional("stage_layers");
  if (!reader) return layers;
  MOESIM_ASSIGN(const auto elements, reader->elements());
  for (const JsonReader& element : elements) {
    MOESIM_ASSIGN(const std::int64_t count, element.as_int(0, kMostLayers));
    layers.push_back(static_cast<int>(count));
  }
  return layers;
}

Result<ExpertSlots> read_expert_slots(JsonReader& root) {
  ExpertSlots slots;
  const auto reader = root.optional("expert_slots");
  if (!reader) return slots;
  MOESIM_ASSIGN(const auto layers, reader->elements());
  for (const JsonReader& layer : layers) {
    MOESIM_ASSIGN(const auto elements, layer.elements());
    std::vector<std::int32_t>& experts = slots.expert_at.emplace_back();
    for (const JsonReader& element : elements) {
      MOESIM_ASSIGN(const std::int64_t expert, element.as_int(kNoExpert, kMostExpertNumber));
      experts.push_back(static_cast<std::int32_t>(expert));
    }
  }
  return slots;
}

Result<Recompute> read_recompute(JsonReader& root, Recompute fallback) {
  MOESIM_ASSIGN(const std::string word, root.string_or("recompute", std::string(recompute_name(fallback))));
  std::vector<std::string> names;
  for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
    if (recompute_name(recompute) == word) return recompute;
    names.emplace_back(recompute_name(recompute));
  }
  return root.error_at("recompute", fmt::format("unknown recompute mode '{}'{}", word, did_you_mean(word, names)),
                       fmt::format("one of {}", fmt::join(names, ", ")));
}

Result<GradPlacement> read_grad_placement(JsonReader& root, GradPlacement fallback) {
  MOESIM_ASSIGN(const std::string word, root.string_or("grad_placement", std::string(grad_placement_name(fallback))));
  std::vector<std::string> names;
  for (const GradPlacement placement : {GradPlacement::kAsReady, GradPlacement::kBetweenExchanges}) {
    if (grad_placement_name(placement) == word) return placement;
    names.emplace_back(grad_placement_name(placement));
  }
  return root.error_at("grad_placement",
                       fmt::format("unknown placement of gradient reductions '{}'{}", word, did_you_mean(word, names)),
                       fmt::format("one of {}", fmt::join(names, ", ")));
}

Result<ExchangeAlgorithm> read_all_to_all(JsonReader& root, ExchangeAlgorithm fallback) {
  MOESIM_ASSIGN(const std::string word, root.string_or("all_to_all", std::string(exchange_algorithm_name(fallback))));
  const auto found = find_exchange_algorithm(word);
  if (!found) return root.error_at("all_to_all", found.error().what, found.error().hint);
  return *found;
}

Result<WireFormat> read_wire_format(JsonReader& root, std::string_view key) {
  MOESIM_ASSIGN(const std::string word, root.string_or(key, ""));
  const auto found = find_wire_format(word);
  if (!found) return root.error_at(key, found.error().what, found.error().hint);
  return *found;
}

Result<CollectiveAlgorithm> read_all_reduce(JsonReader& root, CollectiveAlgorithm fallback) {
  MOESIM_ASSIGN(const std::string word, root.string_or("all_reduce", std::string(algorithm_name(fallback))));
  std::vector<std::string> names;
  for (const CollectiveAlgorithm algorithm : all_reduce_algorithms()) {
    if (algorithm_name(algorithm) == word) return algorithm;
    names.emplace_back(algorithm_name(algorithm));
  }
  return root.error_at("all_reduce",
                       fmt::format("unknown all-reduce algorithm '{}'{}", word, did_you_mean(word, names)),
                       fmt::format("one of {}", fmt::join(names, ", ")));
}

Result<ZeroStage> read_zero(JsonReader& root, std::string_view key, ZeroStage fallback) {
  MOESIM_ASSIGN(const std::int64_t stage, root.int_or(key, static_cast<int>(fallback), 0, 3));
  return static_cast<ZeroStage>(stage);
}

Result<const PipelineSchedule*> read_pipeline(JsonReader& root, Plan& plan) {
  MOESIM_ASSIGN(plan.pipeline, root.string_or("pipeline", plan.pipeline));
  const auto schedule = find_pipeline_schedule(plan.pipeline);
  if (!schedule) return root.error_at("pipeline", schedule.error().what, schedule.error().hint);
  return *schedule;
}

Status read_batch(JsonReader& root, Plan& plan) {
  MOESIM_ASSIGN(plan.seq_length, root.required_int("seq_length", 1, kLongestSequence));
  MOESIM_ASSIGN(plan.micro_batch, small_int_or(root, "micro_batch", plan.micro_batch, 1, kLargestMicroBatch));
  MOESIM_ASSIGN(const std::int64_t global_batch, root.required_int("global_batch", 1, kLargestBatch));
  plan.global_batch = static_cast<int>(global_batch);
  MOESIM_ASSIGN(plan.precision, root.string_or("precision", plan.precision));
  if (const auto recipe = find_precision(plan.precision); !recipe)
    return root.error_at("precision", recipe.error().what, recipe.error().hint);
  return {};
}

Status read_options(JsonReader& root, Plan& plan) {
  MOESIM_ASSIGN(plan.sequence_parallel, root.bool_or("sequence_parallel", plan.sequence_parallel));
  MOESIM_ASSIGN(plan.stage_layers, read_stage_layers(root));
  MOESIM_ASSIGN(plan.moe_schedule, root.string_or("moe_schedule", plan.moe_schedule));
  MOESIM_ASSIGN(plan.moe_degree, small_int_or(root, "moe_degree", plan.moe_degree, 0, kMostMoePieces));
  MOESIM_ASSIGN(plan.moe_backward_degree,
                small_int_or(root, "moe_backward_degree", plan.moe_backward_degree, 0, kMostMoePieces));
  MOESIM_ASSIGN(plan.moe_shadows, small_int_or(root, "moe_shadows", plan.moe_shadows, 0, kMostShadows));
  MOESIM_ASSIGN(plan.moe_dispatch_format, read_wire_format(root, "moe_dispatch_format"));
  MOESIM_ASSIGN(plan.moe_combine_format, read_wire_format(root, "moe_combine_format"));
  MOESIM_ASSIGN(plan.comm_sm_share, root.double_or("comm_sm_share", plan.comm_sm_share, 0, kMostCommSmShare));
  MOESIM_ASSIGN(plan.expert_slots, read_expert_slots(root));
  MOESIM_ASSIGN(plan.capacity_factor, root.double_or("capacity_factor", plan.capacity_factor, 0, kLargestCapacity));
  MOESIM_ASSIGN(plan.pad_to_capacity, root.bool_or("pad_to_capacity", plan.pad_to_capacity));
  MOESIM_ASSIGN(plan.all_to_all, read_all_to_all(root, plan.all_to_all));
  MOESIM_ASSIGN(plan.all_reduce, read_all_reduce(root, plan.all_reduce));
  MOESIM_ASSIGN(plan.recompute, read_recompute(root, plan.recompute));
  MOESIM_ASSIGN(plan.zero_dense, read_zero(root, "zero_dense", plan.zero_dense));
  MOESIM_ASSIGN(plan.zero_expert, read_zero(root, "zero_expert", plan.zero_expert));
  MOESIM_ASSIGN(plan.grad_bucket_elements,
                root.int_or("grad_bucket_elements", plan.grad_bucket_elements, 1, kLargestBucket));
  MOESIM_ASSIGN(plan.overlap_grad_reduce, root.bool_or("overlap_grad_reduce", plan.overlap_grad_reduce));
  MOESIM_ASSIGN(plan.grad_placement, read_grad_placement(root, plan.grad_placement));
  MOESIM_ASSIGN(plan.overlap_param_gather, root.bool_or("overlap_param_gather", plan.overlap_param_gather));
  return {};
}

nlohmann::ordered_json layout_json(const LayoutSpec& layout) {
  const ParallelSizes& s = layout.sizes;
  nlohmann::ordered_json json = {{"tp", s.tp}, {"cp", s.cp}, {"pp", s.pp},   {"vpp", s.vpp},
                                 {"dp", s.dp}, {"ep", s.ep}, {"esp", s.esp}, {"edp", s.edp}};
  if (s.ep_on_node > 1) json["ep_on_node"] = s.ep_on_node;
  if (layout.order != LayoutSpec{}.order) json["order"] = layout.order;
  if (!layout.device_map.empty()) {
    auto map = nlohmann::ordered_json::array();
    for (const RankId rank : layout.device_map) map.push_back(rank.value());
    json["device_map"] = std::move(map);
  }
  return json;
}

}  // namespace

Result<PlanFile> read_plan(JsonReader root) {
  PlanFile file;
  MOESIM_TRY(root.required_int("schema_version", kPlanVersion, kPlanVersion));
  MOESIM_ASSIGN(file.model, root.required_string("model"));
  MOESIM_ASSIGN(file.cluster, root.required_string("cluster"));
  MOESIM_ASSIGN(file.nodes, small_int_or(root, "nodes", 0, 0, kMostNodes));
  MOESIM_ASSIGN(file.trace, root.string_or("trace", ""));
  MOESIM_ASSIGN(const PipelineSchedule* schedule, read_pipeline(root, file.plan));
  MOESIM_ASSIGN(const JsonReader layout, root.required("layout"));
  MOESIM_ASSIGN(file.plan.layout, read_layout(layout, schedule->chunks_per_stage(1)));
  MOESIM_TRY(read_batch(root, file.plan));
  MOESIM_TRY(read_options(root, file.plan));
  MOESIM_TRY(root.reject_unknown_keys());
  return file;
}

Result<PlanFile> parse_plan(std::string_view text, const std::string& name) {
  MOESIM_ASSIGN(const JsonDocument document, JsonDocument::parse_text(text, name));
  return read_plan(document.root());
}

Result<PlanFile> read_plan_file(const std::string& path) {
  MOESIM_ASSIGN(const JsonDocument document, JsonDocument::parse_file(path));
  return read_plan(document.root());
}

std::string plan_to_json(const PlanFile& file, int indent) {
  const Plan& plan = file.plan;
  nlohmann::ordered_json json;
  json["schema_version"] = kPlanVersion;
  json["model"] = file.model;
  json["cluster"] = file.cluster;
  json["nodes"] = file.nodes;
  if (!file.trace.empty()) json["trace"] = file.trace;
  json["layout"] = layout_json(plan.layout);
  json["sequence_parallel"] = plan.sequence_parallel;
  json["seq_length"] = plan.seq_length;
  json["micro_batch"] = plan.micro_batch;
  json["global_batch"] = plan.global_batch;
  json["precision"] = plan.precision;
  json["pipeline"] = plan.pipeline;
  if (!plan.stage_layers.empty()) json["stage_layers"] = plan.stage_layers;
  json["moe_schedule"] = plan.moe_schedule;
  json["moe_degree"] = plan.moe_degree;
  if (plan.moe_backward_degree > 0) json["moe_backward_degree"] = plan.moe_backward_degree;
  if (plan.moe_shadows > 0) json["moe_shadows"] = plan.moe_shadows;
  if (plan.moe_dispatch_format != WireFormat::kAsComputed)
    json["moe_dispatch_format"] = wire_format_name(plan.moe_dispatch_format);
  if (plan.moe_combine_format != WireFormat::kAsComputed)
    json["moe_combine_format"] = wire_format_name(plan.moe_combine_format);
  if (plan.comm_sm_share > 0) json["comm_sm_share"] = plan.comm_sm_share;
  if (!plan.expert_slots.in_order()) json["expert_slots"] = plan.expert_slots.expert_at;
  json["capacity_factor"] = plan.capacity_factor;
  json["pad_to_capacity"] = plan.pad_to_capacity;
  json["all_to_all"] = exchange_algorithm_name(plan.all_to_all);
  json["all_reduce"] = algorithm_name(plan.all_reduce);
  json["recompute"] = recompute_name(plan.recompute);
  json["zero_dense"] = static_cast<int>(plan.zero_dense);
  json["zero_expert"] = static_cast<int>(plan.zero_expert);
  json["grad_bucket_elements"] = plan.grad_bucket_elements;
  json["overlap_grad_reduce"] = plan.overlap_grad_reduce;
  json["grad_placement"] = grad_placement_name(plan.grad_placement);
  json["overlap_param_gather"] = plan.overlap_param_gather;
  // A source name from the command line may not be UTF-8; a file must be.
  return json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace moesim
