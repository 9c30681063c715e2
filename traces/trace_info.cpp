#include "traces/trace_info.hpp"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "base/json_reader.hpp"

namespace moesim {
namespace {

constexpr std::int64_t kLargestCount = 1'000'000'000'000;

template <class Enum, std::size_t n>
Status read_enum(JsonReader& reader, std::string_view key, const std::array<Enum, n>& values, Enum& target) {
  MOESIM_ASSIGN(const std::string word, reader.string_or(key, std::string(name_of(target))));
  std::string accepted;
  for (const Enum value : values) {
    if (name_of(value) == word) {
      target = value;
      return {};
    }
    accepted += (accepted.empty() ? "" : ", ") + std::string(name_of(value));
  }
  return reader.error_at(key, fmt::format("'{}' is not one of {}", word, accepted));
}

}  // namespace

std::string_view name_of(TracePhase phase) {
  switch (phase) {
    case TracePhase::kUnknown: return "unknown";
    case TracePhase::kTraining: return "training";
    case TracePhase::kInference: return "inference";
  }
  MOESIM_ASSERT(false);
}

std::string_view name_of(TraceOrigin origin) {
  switch (origin) {
    case TraceOrigin::kRecorded: return "recorded";
    case TraceOrigin::kSynthetic: return "synthetic";
    case TraceOrigin::kRewritten: return "what-if";
  }
  MOESIM_ASSERT(false);
}

std::string_view name_of(TraceDrops drops) {
  switch (drops) {
    case TraceDrops::kUnknown: return "unknown";
    case TraceDrops::kNone: return "none";
    case TraceDrops::kBefore: return "before";
    case TraceDrops::kAfter: return "after";
  }
  MOESIM_ASSERT(false);
}

Status merge_side_file(std::string_view text, const std::string& name, TraceInfo& info) {
  MOESIM_ASSIGN(const JsonDocument document, JsonDocument::parse_text(text, name));
  JsonReader root = document.root();
  if (!root.is_object()) return root.error("expected an object with keys such as model, top_k, source");
  MOESIM_ASSIGN(info.model, root.string_or("model", info.model));
  MOESIM_ASSIGN(info.top_k, root.int_or("top_k", info.top_k, 0, 65536));
  MOESIM_ASSIGN(info.tokens_per_rank_per_microbatch,
                root.int_or("tokens_per_rank_per_microbatch", info.tokens_per_rank_per_microbatch, 0, kLargestCount));
  MOESIM_ASSIGN(info.model_experts, root.int_or("num_experts", info.model_experts, 0, 65536));
  MOESIM_ASSIGN(info.model_layers, root.int_or("num_layers", info.model_layers, 0, 65536));
  MOESIM_ASSIGN(info.num_src_ranks, root.int_or("num_src_ranks", info.num_src_ranks, 0, 16'777'215));
  MOESIM_ASSIGN(info.gate, root.string_or("gate", info.gate));
  MOESIM_ASSIGN(info.capacity_factor, root.double_or("capacity_factor", info.capacity_factor, 0, 1e6));
  MOESIM_TRY(read_enum(root, "phase", std::array{TracePhase::kUnknown, TracePhase::kTraining, TracePhase::kInference},
                       info.phase));
  MOESIM_TRY(read_enum(root, "origin",
                       std::array{TraceOrigin::kRecorded, TraceOrigin::kSynthetic, TraceOrigin::kRewritten},
                       info.origin));
  MOESIM_TRY(read_enum(root, "drops",
                       std::array{TraceDrops::kUnknown, TraceDrops::kNone, TraceDrops::kBefore, TraceDrops::kAfter},
                       info.drops));
  MOESIM_ASSIGN(info.source_symmetric, root.bool_or("source_symmetric", info.source_symmetric));
  MOESIM_ASSIGN(info.source, root.string_or("source", info.source));
  MOESIM_ASSIGN(info.licence, root.string_or("licence", info.licence));
  MOESIM_ASSIGN(info.notes, root.string_or("notes", info.notes));
  return root.reject_unknown_keys();
}

std::string side_file_text(const TraceInfo& info) {
  nlohmann::ordered_json json;
  if (!info.model.empty()) json["model"] = info.model;
  if (info.model_layers > 0) json["num_layers"] = info.model_layers;
  if (info.model_experts > 0) json["num_experts"] = info.model_experts;
  if (info.top_k > 0) json["top_k"] = info.top_k;
  if (info.tokens_per_rank_per_microbatch > 0)
    json["tokens_per_rank_per_microbatch"] = info.tokens_per_rank_per_microbatch;
  if (info.num_src_ranks > 0) json["num_src_ranks"] = info.num_src_ranks;
  if (!info.gate.empty()) json["gate"] = info.gate;
  if (info.capacity_factor > 0) json["capacity_factor"] = info.capacity_factor;
  json["phase"] = name_of(info.phase);
  json["origin"] = name_of(info.origin);
  json["drops"] = name_of(info.drops);
  json["source_symmetric"] = info.source_symmetric;
  if (!info.source.empty()) json["source"] = info.source;
  if (!info.licence.empty()) json["licence"] = info.licence;
  if (!info.notes.empty()) json["notes"] = info.notes;
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace moesim
