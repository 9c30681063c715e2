#include "sim/cli/routing_source.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "traces/prior.hpp"

namespace moesim {

namespace {

Result<SelectionTrace> prior_of(const RoutingSource& source, std::vector<std::string>& notes) {
  const MoeShape* moe = source.model->first_moe();
  if (moe == nullptr)
    return usage_error(fmt::format("{}: the model has no experts to choose", source.trace), "leave the trace out");
  if (source.import != ImportOptions{})
    return usage_error(fmt::format("{}: options of reading a trace do not apply to a prior", source.trace),
                       "leave --top-k, --input-format and their like out");
  notes.push_back(
      fmt::format("routing is drawn from a prior, {}: what gates may do, not what one has done", source.trace));
  return draw_prior(source.trace,
                    {source.model->moe_layer_count(), static_cast<int>(moe->experts), static_cast<int>(moe->top_k)});
}

}  // namespace

Result<SelectionTrace> load_recording(const RoutingSource& source, std::vector<std::string>& notes, RowSink* tokens) {
  if (is_prior(source.trace))
    return usage_error(fmt::format("{}: a prior is one step and cannot be played", source.trace),
                       "make a trace that drifts with moesim trace synth");
  MOESIM_ASSIGN(LoadedTrace loaded, load_trace(source.trace, source.import, tokens));
  for (const Finding& finding : loaded.findings.list())
    if (finding.severity != Severity::kInfo && finding.code != "inference")  // which the mapping tells in any case
      notes.push_back(
          fmt::format("trace: {}: {} ({} x)", name_of(finding.severity), finding.explanation, finding.count));
  TraceInfo& info = loaded.trace.info;
  if (info.origin == TraceOrigin::kSynthetic)
    notes.push_back(fmt::format("{} is synthetic: made up by a generator, not recorded", source.trace));
  else if (info.origin == TraceOrigin::kRewritten)
    notes.push_back(fmt::format("{} is a what-if: counts rewritten by {}, not recorded", source.trace, info.gate));
  else if (!info.model.empty() && to_lower(info.model) != to_lower(source.model->name))
    notes.push_back(fmt::format("{} was recorded from another model, {}", source.trace, info.model));
  info.source = source.trace;  // errors name the file, not where its numbers come from
  return std::move(loaded.trace);
}

Result<LoadMapper> load_routing(const RoutingSource& source, std::vector<std::string>& notes) {
  MOESIM_ASSIGN(const SelectionTrace trace,
                is_prior(source.trace) ? prior_of(source, notes) : load_recording(source, notes));
  return LoadMapper::create(trace, source.step);
}

}  // namespace moesim
