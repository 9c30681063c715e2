// What is wrong with a plan is found where plans are checked, lowered or executed, which know nothing of files. Here it learns where it
// stands.
#pragma once

#include <string>
#include <utility>

#include "base/error.hpp"

namespace moesim {

// The outcome of something that was done with the plan of a file: of invalid input without a place, the file is the place.
template <class Outcome>
[[nodiscard]] Outcome in_plan_file(const std::string& path, Outcome outcome) {
  if (!outcome && outcome.error().kind == ErrorKind::kInvalidInput && outcome.error().where.empty())
    outcome.error().where = path;
  return outcome;
}

}  // namespace moesim
