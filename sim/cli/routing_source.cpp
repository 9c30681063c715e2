#include "sim/cli/routing_source.hpp"

#include <fmt/format.h>

#include "base/text.hpp"

namespace moesim {

Result<SelectionTrace> load_recording(const RoutingSource& source, std::vector<std::string>& notes, RowSink* tokens) {
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
  else if (!info.model.empty() && to_lower(info.model) != to_lower(source.model))
    notes.push_back(fmt::format("{} was recorded from another model, {}", source.trace, info.model));
  info.source = source.trace;  // errors name the file, not where its numbers come from
  return std::move(loaded.trace);
}

Result<LoadMapper> load_routing(const RoutingSource& source, std::vector<std::string>& notes) {
  MOESIM_ASSIGN(const SelectionTrace trace, load_recording(source, notes));
  return LoadMapper::create(trace, source.step);
}

}  // namespace moesim
