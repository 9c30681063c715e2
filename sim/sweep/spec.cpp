#include "sim/sweep/spec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/json_reader.hpp"
#include "base/text.hpp"
#include "sim/pipeline/schedules.hpp"

namespace moesim {
namespace {

constexpr std::int64_t kSpecVersion = 1;

Result<int> size_or(JsonReader& reader, std::string_view key, std::int64_t largest) {
  MOESIM_ASSIGN(const std::int64_t value, reader.int_or(key, 1, 1, largest));
  return static_cast<int>(value);
}

// Not read_plan's layout: here sizes need not fit together, as axes will replace some of them.
Result<LayoutSpec> read_base_layout(JsonReader reader) {
  LayoutSpec layout;
  ParallelSizes& s = layout.sizes;
  MOESIM_ASSIGN(s.tp, size_or(reader, "tp", kLargestWorld));
  MOESIM_ASSIGN(s.cp, size_or(reader, "cp", kLargestWorld));
  MOESIM_ASSIGN(s.pp, size_or(reader, "pp", kLargestWorld));
  MOESIM_ASSIGN(s.vpp, size_or(reader, "vpp", 1024));
  MOESIM_ASSIGN(s.ep, size_or(reader, "ep", kLargestWorld));
  MOESIM_ASSIGN(s.esp, size_or(reader, "esp", kLargestWorld));
  reader.ignore({"dp", "edp", "ep_on_node"});
  MOESIM_ASSIGN(layout.order, reader.string_or("order", layout.order));
  if (const auto order = parse_order(layout.order); !order)
    return reader.error_at("order", order.error().what, order.error().hint);
  if (const auto map = reader.optional("device_map")) {
    MOESIM_ASSIGN(const auto elements, map->elements());
    for (const JsonReader& element : elements) {
      MOESIM_ASSIGN(const std::int64_t rank, element.as_int(0, kLargestWorld - 1));
      layout.device_map.emplace_back(static_cast<std::int32_t>(rank));
    }
  }
  MOESIM_TRY(reader.reject_unknown_keys());
  return layout;
}

Result<SweepBase> read_base(const JsonReader& reader) {
  if (!reader.is_object()) return reader.error("expected the fields of a plan, or the path of a plan file");
  SweepBase base;
  base.seq_length_given = reader.has("seq_length");
  base.global_batch_given = reader.has("global_batch");
  LayoutSpec layout;
  if (auto source = JsonReader(reader).optional("layout")) {
    base.vpp_given = source->has("vpp");
    MOESIM_ASSIGN(layout, read_base_layout(*source));
  }
  // The reader of plans wants a whole plan: what axes may bring gets a stand-in.
  nlohmann::json whole = reader.value();
  whole["layout"] = {{"dp", 1}};
  const nlohmann::json stand_ins = {
      {"schema_version", kSpecVersion}, {"model", ""}, {"cluster", ""}, {"seq_length", 1}, {"global_batch", 1}};
  for (const auto& [key, value] : stand_ins.items())
    if (!reader.has(key)) whole[key] = value;
  MOESIM_ASSIGN(base.file, read_plan(JsonReader(whole, reader.place())));
  base.file.plan.layout = std::move(layout);
  if (base.file.trace == kBalancedRouting) base.file.trace.clear();
  return base;
}

Result<SweepBase> read_base_file(const std::string& path) {
  MOESIM_ASSIGN(const JsonDocument document, JsonDocument::parse_file(path));
  return read_base(document.root());
}

nlohmann::ordered_json axis_json(const AxisValue& value) {
  return std::visit([](const auto& v) { return nlohmann::ordered_json(v); }, value);
}

}  // namespace

Result<SweepSpec> SweepSpec::read_file(const std::string& path) {
  MOESIM_ASSIGN(const JsonDocument document, JsonDocument::parse_file(path));
  return read(document.root());
}

Result<SweepSpec> SweepSpec::parse(std::string_view text, const std::string& name) {
  MOESIM_ASSIGN(const JsonDocument document, JsonDocument::parse_text(text, name));
  return read(document.root());
}

Result<SweepSpec> SweepSpec::read(JsonReader root) {
  SweepSpec spec;
  MOESIM_TRY(root.required_int("schema_version", kSpecVersion, kSpecVersion));
  if (const auto base = root.optional("base")) {
    if (base->is_string()) {
      MOESIM_ASSIGN(const std::string path, base->as_string());
      MOESIM_TRY(spec.set_base_file(path));
    } else {
      MOESIM_ASSIGN(spec.base_, read_base(*base));
    }
  }
  if (auto axes = root.optional("axes")) {
    if (!axes->is_object()) return axes->error("expected an object with a list of values per field");
    for (const FieldTraits& traits : sweep_fields()) {
      const auto values = axes->optional(traits.name);
      if (!values) continue;
      MOESIM_ASSIGN(SweepAxis axis, read_axis(traits.field, *values));
      spec.set_axis(std::move(axis));
    }
    MOESIM_TRY(axes->reject_unknown_keys());
  }
  MOESIM_TRY(root.reject_unknown_keys());
  return spec;
}

Status SweepSpec::set_base_file(const std::string& path) {
  MOESIM_ASSIGN(base_, read_base_file(path));
  return {};
}

void SweepSpec::set_axis(SweepAxis axis) {
  MOESIM_ASSERT(!axis.values.empty());
  const auto at = std::lower_bound(axes_.begin(), axes_.end(), axis.field,
                                   [](const SweepAxis& a, SweepField field) { return a.field < field; });
  if (at != axes_.end() && at->field == axis.field)
    *at = std::move(axis);
  else
    axes_.insert(at, std::move(axis));
}

const SweepAxis* SweepSpec::axis(SweepField field) const {
  const auto at = std::find_if(axes_.begin(), axes_.end(), [field](const SweepAxis& a) { return a.field == field; });
  return at == axes_.end() ? nullptr : &*at;
}

Status SweepSpec::check() const {
  const auto demand = [&](SweepField field, bool in_base) -> Status {
    if (in_base || axis(field) != nullptr) return {};
    const std::string_view name = traits_of(field).name;
    return invalid_input(fmt::format("the sweep does not say which {} to use", name), {},
                         fmt::format("give '{}' in the base, as an axis, or with {}", name, traits_of(field).options));
  };
  MOESIM_TRY(demand(SweepField::kModel, !base_.file.model.empty()));
  MOESIM_TRY(demand(SweepField::kCluster, !base_.file.cluster.empty()));
  MOESIM_TRY(demand(SweepField::kSeqLength, base_.seq_length_given));
  MOESIM_TRY(demand(SweepField::kGlobalBatch, base_.global_batch_given));
  std::int64_t product = 1;
  for (const SweepAxis& axis : axes_) {
    product *= static_cast<std::int64_t>(axis.values.size());  // each at most 10^5 and the product before at most 10^7
    if (product > kMostSweepPoints)
      return invalid_input(fmt::format("the axes have more than {} points together", kMostSweepPoints), {},
                           "shorten an axis, or let moesim rank search the space instead of listing it");
  }
  return {};
}

std::vector<std::string> SweepSpec::words(SweepField field) const {
  std::vector<std::string> words;
  if (const SweepAxis* varied = axis(field)) {
    for (const AxisValue& value : varied->values) words.push_back(std::get<std::string>(value));
  } else {
    words.push_back(field == SweepField::kModel     ? base_.file.model
                    : field == SweepField::kCluster ? base_.file.cluster
                                                    : base_.file.trace);
  }
  return words;
}

std::vector<int> SweepSpec::node_counts() const {
  const SweepAxis* varied = axis(SweepField::kNodes);
  if (varied == nullptr) return {base_.file.nodes};
  std::vector<int> counts;
  for (const AxisValue& value : varied->values) counts.push_back(static_cast<int>(std::get<std::int64_t>(value)));
  return counts;
}

std::int64_t SweepSpec::points() const {
  std::int64_t product = 1;
  for (const SweepAxis& axis : axes_) product *= static_cast<std::int64_t>(axis.values.size());
  return product;
}

PlanFile SweepSpec::point(std::int64_t index) const {
  MOESIM_ASSERT(index >= 0 && index < points());
  PlanFile file = base_.file;
  for (auto axis = axes_.rbegin(); axis != axes_.rend(); ++axis) {
    const auto values = static_cast<std::int64_t>(axis->values.size());
    apply(axis->field, axis->values[static_cast<std::size_t>(index % values)], file);
    index /= values;
  }
  return file;
}

void SweepSpec::derive_sizes(PlanFile& file, int world) const {
  ParallelSizes& s = file.plan.layout.sizes;
  if (axis(SweepField::kVpp) == nullptr) {
    // Schedules that hold a fixed number of chunks have theirs, whatever the base was made for.
    const auto schedule = find_pipeline_schedule(file.plan.pipeline);
    if (schedule) s.vpp = (*schedule)->chunks_per_stage(base_.vpp_given ? s.vpp : 1);
  }
  const auto whole_ratio = [](std::int64_t ranks, std::int64_t by) {
    return ranks % by == 0 && ranks / by <= kLargestWorld ? static_cast<int>(ranks / by) : 0;
  };
  // Sizes are at most 2^20 each: two of them multiply safely, a third factor is divided out instead.
  const auto divided = [&](std::int64_t ranks, std::initializer_list<int> sizes) {
    for (const int size : sizes) ranks = ranks == 0 ? 0 : whole_ratio(ranks, size);
    return static_cast<int>(ranks);
  };
  if (axis(SweepField::kDp) == nullptr) s.dp = divided(world, {s.tp, s.cp, s.pp});
  const std::int64_t stage_ranks = divided(world, {s.pp});
  s.edp = divided(stage_ranks, {s.esp, s.ep});
}

std::string SweepSpec::canonical_text() const {
  nlohmann::ordered_json json;
  json["base"] = nlohmann::ordered_json::parse(plan_to_json(base_.file, 0));
  json["vpp_given"] = base_.vpp_given;
  for (const SweepAxis& axis : axes_) {
    auto values = nlohmann::ordered_json::array();
    for (const AxisValue& value : axis.values) values.push_back(axis_json(value));
    json["axes"][std::string(traits_of(axis.field).name)] = std::move(values);
  }
  if (import_ != ImportOptions{})
    json["import"] = {{"format", import_.format},
                      {"top_k", import_.top_k},
                      {"sequence_ranks", import_.sequence_ranks},
                      {"sequences_per_iteration", import_.sequences_per_iteration},
                      {"expert_parallel", import_.expert_parallel}};
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace moesim
