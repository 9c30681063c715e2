#include "traces/findings.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace moesim {

std::string_view name_of(Severity severity) {
  switch (severity) {
    case Severity::kInfo: return "info";
    case Severity::kNotice: return "notice";
    case Severity::kDataLoss: return "data_loss";
    case Severity::kError: return "error";
  }
  MOESIM_ASSERT(false);
}

void Findings::add(Severity severity, std::string_view code, std::string explanation, std::string place,
                   std::uint64_t count) {
  if (Finding* known = find(code)) {
    known->count += count;
    return;
  }
  list_.push_back({severity, std::string(code), count, std::move(explanation), std::move(place)});
}

Severity Findings::worst() const {
  Severity worst = Severity::kInfo;
  for (const Finding& finding : list_) worst = std::max(worst, finding.severity);
  return worst;
}

bool Findings::has(std::string_view code) const {
  return std::any_of(list_.begin(), list_.end(), [&](const Finding& finding) { return finding.code == code; });
}

Finding* Findings::find(std::string_view code) {
  const auto found = std::find_if(list_.begin(), list_.end(), [&](const Finding& f) { return f.code == code; });
  return found == list_.end() ? nullptr : &*found;
}

}  // namespace moesim
