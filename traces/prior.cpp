#include "traces/prior.hpp"

#include <fmt/format.h>

#include <charconv>

#include "base/text.hpp"

namespace moesim {
namespace {

Result<double> number_of(std::string_view word) {
  double value = 0;
  const auto [end, failed] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (failed != std::errc() || end != word.data() + word.size())
    return usage_error(fmt::format("'{}' is no number", word), "write it as in prior:zipf:1.2");
  return value;
}

Result<SynthesisRequest> request_of(std::string_view source) {
  const std::vector<std::string_view> words = split(source.substr(kPriorPrefix.size()), ':');
  SynthesisRequest request;
  MOESIM_ASSIGN(request.law, parse_gate_law(words[0]));
  if (request.law == GateLaw::kBalanced)
    return usage_error("a balanced prior is what is taken without a trace", "leave the trace out");
  if (words.size() > 2) return usage_error("a prior has a law and one number at most", "write it as in prior:zipf:1.2");
  if (words.size() < 2) return request;
  MOESIM_ASSIGN(const double number, number_of(words[1]));
  switch (request.law) {
    case GateLaw::kZipf: request.zipf_exponent = number; break;
    case GateLaw::kDirichlet: request.dirichlet_alpha = number; break;
    case GateLaw::kHotExpert: request.hot_share = number; break;
    case GateLaw::kBalanced: break;
  }
  return request;
}

Result<SelectionTrace> draw(std::string_view source, const PriorGate& gate) {
  MOESIM_ASSIGN(SynthesisRequest request, request_of(source));
  request.layers = gate.layers;
  request.experts = gate.experts;
  request.top_k = gate.top_k;
  request.source_ranks = kPriorSources;
  return synthesize_trace(request);
}

}  // namespace

Result<SelectionTrace> draw_prior(std::string_view source, const PriorGate& gate) {
  Result<SelectionTrace> drawn = draw(source, gate);
  if (!drawn) drawn.error().what = fmt::format("{}: {}", source, drawn.error().what);
  return drawn;
}

}  // namespace moesim
