#include "traces/formats/formats.hpp"

#include <array>

#include "base/text.hpp"

namespace moesim {

std::string_view InputProbe::first_line() const {
  std::string_view text = head;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  return trim(text.substr(0, text.find('\n')));
}

std::span<const TraceFormat* const> trace_formats() {
  static constexpr std::array kFormats = {&kCountsCsv, &kSmartMoeTables};
  return kFormats;
}

Error explain_unreadable(const InputProbe& probe) {
  return Error{ErrorKind::kInvalidInput, "no known trace format", probe.path, "docs/traces.md lists the formats"};
}

}  // namespace moesim
