#include "traces/bundled.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/text.hpp"
#include "embedded/embedded_trace_counts.hpp"
#include "embedded/embedded_trace_info.hpp"

namespace moesim {

std::vector<BundledTrace> bundled_traces() {
  const auto counts = embedded_trace_counts();
  const auto infos = embedded_trace_info();
  MOESIM_ASSERT(counts.size() == infos.size());
  std::vector<BundledTrace> traces;
  for (std::size_t i = 0; i < counts.size(); ++i)
    traces.push_back({counts[i].name.substr(0, counts[i].name.find('.')), counts[i].content, infos[i].content});
  return traces;
}

Result<BundledTrace> find_bundled_trace(std::string_view name) {
  std::vector<std::string> names;
  for (const BundledTrace& trace : bundled_traces()) {
    if (trace.name == name) return trace;
    names.emplace_back(trace.name);
  }
  return usage_error(fmt::format("there is no bundled trace '{}'{}", name, did_you_mean(name, names)),
                     fmt::format("bundled traces: {}", fmt::join(names, ", ")));
}

}  // namespace moesim
