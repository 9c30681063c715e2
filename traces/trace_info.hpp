// What is known about a trace beside its numbers, and the JSON side file (FILE.json beside FILE) that carries it.
//
// Zero and empty mean "not known". Errors of the side file name the JSON pointer.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.hpp"

namespace moesim {

enum class TracePhase : std::uint8_t { kUnknown, kTraining, kInference };
// kRewritten: what another gate might have chosen, worked out from a recording or a made-up trace (rewrite.hpp).
enum class TraceOrigin : std::uint8_t { kRecorded, kSynthetic, kRewritten };
// Whether counts were taken before or after a capacity limit dropped tokens; kNone: the gate drops nothing.
enum class TraceDrops : std::uint8_t { kUnknown, kNone, kBefore, kAfter };

[[nodiscard]] std::string_view name_of(TracePhase phase);    // "unknown", "training", "inference"
[[nodiscard]] std::string_view name_of(TraceOrigin origin);  // "recorded", "synthetic", "what-if"
[[nodiscard]] std::string_view name_of(TraceDrops drops);    // "unknown", "none", "before", "after"

struct TraceInfo {
  std::string format;  // the importer's name; not part of the side file
  std::string model;
  std::int64_t top_k = 0;
  std::int64_t tokens_per_rank_per_microbatch = 0;
  std::int64_t model_experts = 0;  // as the side file says; the counts themselves decide
  std::int64_t model_layers = 0;
  std::int64_t num_src_ranks = 0;
  std::string gate;
  double capacity_factor = 0;
  TracePhase phase = TracePhase::kUnknown;
  TraceOrigin origin = TraceOrigin::kRecorded;
  TraceDrops drops = TraceDrops::kUnknown;
  // The split over source ranks is made up (the recording had sums only), so traffic per link is synthetic.
  bool source_symmetric = false;
  std::string source;  // where the numbers come from: a paper, a repository, the command that made them
  std::string licence;
  std::string notes;
  bool operator==(const TraceInfo&) const = default;
};

// Takes over every key that `text` (the side file's content) gives.
[[nodiscard]] Status merge_side_file(std::string_view text, const std::string& name, TraceInfo& info);

[[nodiscard]] std::string side_file_text(const TraceInfo& info);

}  // namespace moesim
