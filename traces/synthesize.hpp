// Made-up traces with a chosen skew, the same bytes on every machine for the same request. They are marked synthetic in
// TraceInfo, in the side file and in everything made from them.
//
// For each layer a distribution p over experts is drawn:
//   balanced    p = 1/E, no noise
//   zipf        p ~ 1 / rank^exponent, ranks shuffled per layer
//   dirichlet   p ~ Dirichlet(alpha): alpha large is balanced, small is collapsed
//   hot         one expert of each layer has `hot_share` of all selections, the others the rest evenly
// drift mixes in a fresh draw before every further step: p <- (1 - drift) p + drift p_new.
// A row is p with the noise of independently routed tokens (normal with variance T p (1 - p), T = tokens * top_k), made
// whole by largest remainder: it sums to T and no expert exceeds `tokens`.
// A trace has at most kMostSynthesizedCounts counts: steps x layers x micro-batches x source ranks x experts.
// Worked: Dirichlet(8) over 8 experts has deviation/mean sqrt(7/65) = 0.33, an expected max/mean of about 1.5.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.hpp"
#include "base/progress.hpp"
#include "base/stop_token.hpp"
#include "traces/rows.hpp"
#include "traces/selection_trace.hpp"

namespace moesim {

enum class GateLaw : std::uint8_t { kBalanced, kZipf, kDirichlet, kHotExpert };
[[nodiscard]] Result<GateLaw> parse_gate_law(std::string_view name);  // "balanced", "zipf", "dirichlet", "hot"
[[nodiscard]] std::string_view name_of(GateLaw law);

struct SynthesisRequest {
  GateLaw law = GateLaw::kDirichlet;
  double zipf_exponent = 1;
  double dirichlet_alpha = 8;
  double hot_share = 0.3;
  double drift = 0;  // 0 to 1, per step
  int steps = 1;
  int layers = 1;
  int micro_batches = 1;
  int source_ranks = 1;
  int experts = 8;
  int top_k = 2;
  std::int64_t tokens = 4096;  // per source rank and micro-batch
  std::uint64_t seed = 1;
  int first_layer = 0;  // label of the first layer
  std::string model;
};

constexpr double kMostSynthesizedCounts = 1e10;  // about 40 GB of CSV
constexpr double kMostSynthesizedShares = 1e8;   // layers x experts, held in memory: 0.8 GB

// Whether such a trace can be made; before anything is allocated or written.
[[nodiscard]] Status check_synthesis(const SynthesisRequest& request);

// What is known about the trace that `request` makes, the options that made it included.
[[nodiscard]] TraceInfo describe_synthesis(const SynthesisRequest& request);

struct SynthesisRun {
  ProgressSink* progress = nullptr;  // told the rows made; may be null
  StopToken stop;                    // asked: kInterrupted
};

// Rows in ascending order of their keys, pushed one by one: traces of any size.
[[nodiscard]] Status synthesize(const SynthesisRequest& request, RowSink& sink, const SynthesisRun& run = {});

// The same, in memory.
[[nodiscard]] Result<SelectionTrace> synthesize_trace(const SynthesisRequest& request,
                                                      std::uint64_t memory_limit_bytes = 4ULL << 30);

}  // namespace moesim
