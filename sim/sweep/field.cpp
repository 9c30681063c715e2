#include "sim/sweep/field.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.hpp"
#include "models/precision.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "sim/pipeline/schedules.hpp"
#include "sim/sweep/axis.hpp"

namespace moesim {
namespace {

constexpr std::array<FieldTraits, kSweepFields> kFields = {{
    {SweepField::kModel, "model", "--model", FieldKind::kWord, 0, 0, "zoo:NAME or configuration files"},
    {SweepField::kCluster, "cluster", "--cluster", FieldKind::kWord, 0, 0, "preset:NAME or cluster files"},
    {SweepField::kNodes, "nodes", "--nodes", FieldKind::kWhole, 1, 100'000, "Nodes of the cluster"},
    {SweepField::kTrace, "trace", "--trace", FieldKind::kWord, 0, 0, "Routing traces; 'balanced' for none"},
    {SweepField::kSeqLength, "seq_length", "--seq,--seq-length", FieldKind::kWhole, 1, 1LL << 30,
     "Tokens of a sequence"},
    {SweepField::kGlobalBatch, "global_batch", "--gbs,--global-batch", FieldKind::kWhole, 1, 1LL << 30,
     "Sequences per step"},
    {SweepField::kPrecision, "precision", "--precision", FieldKind::kWord, 0, 0, "Precision recipes"},
    {SweepField::kTp, "tp", "--tp", FieldKind::kWhole, 1, kLargestWorld, "Tensor parallelism"},
    {SweepField::kCp, "cp", "--cp", FieldKind::kWhole, 1, kLargestWorld, "Context parallelism"},
    {SweepField::kPp, "pp", "--pp", FieldKind::kWhole, 1, kLargestWorld, "Pipeline stages"},
    {SweepField::kVpp, "vpp", "--vpp", FieldKind::kWhole, 1, 1024, "Model chunks per stage"},
    {SweepField::kDp, "dp", "--dp", FieldKind::kWhole, 1, kLargestWorld,
     "Data parallelism; without it what the cluster leaves"},
    {SweepField::kEp, "ep", "--ep", FieldKind::kWhole, 1, kLargestWorld, "Expert parallelism"},
    {SweepField::kEsp, "esp", "--esp,--etp", FieldKind::kWhole, 1, kLargestWorld, "Shards of one expert"},
    {SweepField::kMicroBatch, "micro_batch", "--mbs,--micro-batch", FieldKind::kWhole, 1, 1024,
     "Sequences of a micro-batch"},
    {SweepField::kRecompute, "recompute", "--recompute", FieldKind::kWord, 0, 0, "none, selective, full"},
    {SweepField::kZeroDense, "zero_dense", "--zero-dense", FieldKind::kWhole, 0, 3, "ZeRO stage of dense parameters"},
    {SweepField::kZeroExpert, "zero_expert", "--zero-expert", FieldKind::kWhole, 0, 3, "ZeRO stage of experts"},
    {SweepField::kPipeline, "pipeline", "--pipeline", FieldKind::kWord, 0, 0, "Pipeline schedules"},
    {SweepField::kMoeSchedule, "moe_schedule", "--moe-schedule", FieldKind::kWord, 0, 0, "MoE-layer schedules"},
    {SweepField::kMoeDegree, "moe_degree", "--moe-degree", FieldKind::kWhole, 0, kMostMoePieces,
     "Pieces that they cut token copies into; 0: their own number"},
    {SweepField::kMoeBackwardDegree, "moe_backward_degree", "--moe-backward-degree", FieldKind::kWhole, 0,
     kMostMoePieces, "The same in the backward pass; without it as many as forward"},
    {SweepField::kMoeShadows, "moe_shadows", "--moe-shadows", FieldKind::kWhole, 0, kMostShadows,
     "Experts of each MoE layer that they shadow"},
    {SweepField::kAllToAll, "all_to_all", "--all-to-all", FieldKind::kWord, 0, 0, "Algorithms of the token exchange"},
    {SweepField::kCapacityFactor, "capacity_factor", "--capacity-factor", FieldKind::kNumber, 0, 1'000'000,
     "Capacity factors; 0 drops nothing"},
}};

constexpr std::array kRecomputePolicies = {Recompute::kNone, Recompute::kSelective, Recompute::kFull};

Status check_recompute(const std::string& word) {
  std::vector<std::string> names;
  for (const Recompute recompute : kRecomputePolicies) names.emplace_back(recompute_name(recompute));
  if (std::find(names.begin(), names.end(), word) != names.end()) return {};
  return invalid_input(fmt::format("unknown recompute mode '{}'{}", word, did_you_mean(word, names)), {},
                       fmt::format("one of {}", fmt::join(names, ", ")));
}

Status without_value(const auto& result) {
  if (result) return {};
  return tl::unexpected(result.error());
}

// Words that name something built in; sources are looked up when the sweep starts.
Status check_word(SweepField field, const std::string& word) {
  switch (field) {
    case SweepField::kRecompute: return check_recompute(word);
    case SweepField::kPrecision: return without_value(find_precision(word));
    case SweepField::kPipeline: return without_value(find_pipeline_schedule(word));
    case SweepField::kMoeSchedule: return without_value(find_moe_schedule(word));
    case SweepField::kAllToAll: return without_value(find_exchange_algorithm(word));
    default: break;
  }
  if (word.empty()) return invalid_input("an empty value");
  return {};
}

std::vector<AxisValue> as_values(auto numbers) { return {numbers.begin(), numbers.end()}; }

Result<std::vector<AxisValue>> values_from_text(const FieldTraits& traits, std::string_view text) {
  switch (traits.kind) {
    case FieldKind::kWhole: {
      MOESIM_ASSIGN(const auto numbers, parse_integer_axis(text, traits.smallest, traits.largest));
      return as_values(numbers);
    }
    case FieldKind::kNumber: {
      MOESIM_ASSIGN(const auto numbers,
                    parse_number_axis(text, static_cast<double>(traits.smallest), static_cast<double>(traits.largest)));
      return as_values(numbers);
    }
    case FieldKind::kWord: break;
  }
  MOESIM_ASSIGN(const auto words, parse_word_axis(text));
  for (const std::string& word : words) MOESIM_TRY(check_word(traits.field, word));
  return as_values(words);
}

Result<AxisValue> value_from_json(const FieldTraits& traits, const JsonReader& reader) {
  switch (traits.kind) {
    case FieldKind::kWhole: {
      MOESIM_ASSIGN(const std::int64_t number, reader.as_int(traits.smallest, traits.largest));
      return number;
    }
    case FieldKind::kNumber: {
      MOESIM_ASSIGN(const double number,
                    reader.as_double(static_cast<double>(traits.smallest), static_cast<double>(traits.largest)));
      return number;
    }
    case FieldKind::kWord: break;
  }
  MOESIM_ASSIGN(const std::string word, reader.as_string());
  if (const Status known = check_word(traits.field, word); !known)
    return reader.error(known.error().what, known.error().hint);
  return word;
}

}  // namespace

std::span<const FieldTraits, kSweepFields> sweep_fields() { return kFields; }

const FieldTraits& traits_of(SweepField field) { return kFields[static_cast<std::size_t>(field)]; }

Result<SweepAxis> parse_axis(SweepField field, std::string_view text) {
  SweepAxis axis{field, {}};
  MOESIM_ASSIGN(axis.values, values_from_text(traits_of(field), text));
  return axis;
}

Result<SweepAxis> read_axis(SweepField field, const JsonReader& reader) {
  const FieldTraits& traits = traits_of(field);
  SweepAxis axis{field, {}};
  if (reader.is_string()) {
    MOESIM_ASSIGN(const std::string text, reader.as_string());
    auto values = values_from_text(traits, text);
    if (!values) return reader.error(values.error().what, values.error().hint);
    axis.values = std::move(*values);
    return axis;
  }
  if (!reader.is_array()) {
    MOESIM_ASSIGN(AxisValue value, value_from_json(traits, reader));
    axis.values.push_back(std::move(value));
    return axis;
  }
  MOESIM_ASSIGN(const auto elements, reader.elements());
  if (elements.empty()) return reader.error("an axis needs at least one value");
  if (elements.size() > kMostAxisValues)
    return reader.error(fmt::format("an axis has at most {} values", kMostAxisValues));
  for (const JsonReader& element : elements) {
    MOESIM_ASSIGN(AxisValue value, value_from_json(traits, element));
    axis.values.push_back(std::move(value));
  }
  std::vector<AxisValue> sorted = axis.values;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) return reader.error("a value stands twice");
  return axis;
}

void apply(SweepField field, const AxisValue& value, PlanFile& file) {
  Plan& plan = file.plan;
  ParallelSizes& sizes = plan.layout.sizes;
  const auto whole = [&] { return static_cast<int>(std::get<std::int64_t>(value)); };
  const auto word = [&] { return std::get<std::string>(value); };
  switch (field) {
    case SweepField::kModel: file.model = word(); return;
    case SweepField::kCluster: file.cluster = word(); return;
    case SweepField::kNodes: file.nodes = whole(); return;
    case SweepField::kTrace: file.trace = word() == kBalancedRouting ? std::string() : word(); return;
    case SweepField::kSeqLength: plan.seq_length = std::get<std::int64_t>(value); return;
    case SweepField::kGlobalBatch: plan.global_batch = whole(); return;
    case SweepField::kPrecision: plan.precision = word(); return;
    case SweepField::kTp: sizes.tp = whole(); return;
    case SweepField::kCp: sizes.cp = whole(); return;
    case SweepField::kPp: sizes.pp = whole(); return;
    case SweepField::kVpp: sizes.vpp = whole(); return;
    case SweepField::kDp: sizes.dp = whole(); return;
    case SweepField::kEp: sizes.ep = whole(); return;
    case SweepField::kEsp: sizes.esp = whole(); return;
    case SweepField::kMicroBatch: plan.micro_batch = whole(); return;
    case SweepField::kRecompute:
      for (const Recompute recompute : kRecomputePolicies)
        if (recompute_name(recompute) == word()) plan.recompute = recompute;
      return;
    case SweepField::kZeroDense: plan.zero_dense = static_cast<ZeroStage>(whole()); return;
    case SweepField::kZeroExpert: plan.zero_expert = static_cast<ZeroStage>(whole()); return;
    case SweepField::kPipeline: plan.pipeline = word(); return;
    case SweepField::kMoeSchedule: plan.moe_schedule = word(); return;
    case SweepField::kMoeDegree: plan.moe_degree = whole(); return;
    case SweepField::kMoeBackwardDegree: plan.moe_backward_degree = whole(); return;
    case SweepField::kMoeShadows: plan.moe_shadows = whole(); return;
    case SweepField::kAllToAll: plan.all_to_all = find_exchange_algorithm(word()).value(); return;
    case SweepField::kCapacityFactor: plan.capacity_factor = std::get<double>(value); return;
    case SweepField::kCount: break;
  }
  MOESIM_ASSERT(field != SweepField::kCount);
}

}  // namespace moesim
