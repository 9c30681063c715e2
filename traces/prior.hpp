// What is taken for the gate's choices before there is a recording: a law of skew, drawn once for every layer of the model
// (synthesize.hpp). Capacities cut it like any other counts, so that a gate with one is expected to pile up less.
//
// Where routing is asked for, "prior:LAW" or "prior:LAW:NUMBER" names one: prior:zipf:1.2 (exponent), prior:dirichlet:0.5 (alpha),
// prior:hot:0.3 (share of one expert). Without a number that of SynthesisRequest.
#pragma once

#include <string_view>

#include "base/error.hpp"
#include "traces/synthesize.hpp"

namespace moesim {

inline constexpr std::string_view kPriorPrefix = "prior:";

[[nodiscard]] inline bool is_prior(std::string_view source) { return source.starts_with(kPriorPrefix); }

// The gate that a prior is drawn for.
struct PriorGate {
  int layers = 1;
  int experts = 8;
  int top_k = 2;
};
// One step, with as many sources as loads distinguish (kPriorSources): their noise is that of independently routed tokens.
inline constexpr int kPriorSources = 64;
[[nodiscard]] Result<SelectionTrace> draw_prior(std::string_view source, const PriorGate& gate);

}  // namespace moesim
