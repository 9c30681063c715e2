// Runs planned cases one after the other, on all ranks together, within a budget of time.
//
// Every case gets an equal share of what is left of the budget, so what steady cases do not use goes to those after them. All
// ranks take the same decisions: after each sample they agree on the slowest rank's time. An error on any rank ends the
// run; what was finished is kept. When asked to stop, the case in hand is dropped unless it has its fewest samples.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/stop_token.hpp"
#include "exec/bench/planned_case.hpp"
#include "exec/bench/sampling.hpp"

namespace moesim {

struct Measured {
  std::vector<BenchCase> cases;
  bool stopped = false;        // before the end, because the user asked for it
  std::optional<Error> error;  // what ended it otherwise
};

struct MeasureOptions {
  SampleRules rules;
  Seconds budget{300};
  StopToken stop;
  // Between two cases, on every rank: what there is so far, how many cases have been dealt with, and the name of the next one.
  std::function<void(const Measured& so_far, std::size_t done, const std::string& next)> progress;
};

[[nodiscard]] Measured measure(BenchContext& context, std::span<const PlannedCase> cases,
                               const MeasureOptions& options);

// The largest of each number over all ranks; all must ask.
[[nodiscard]] Result<std::vector<double>> largest_of_all(BenchContext& context, std::vector<double> mine);

}  // namespace moesim
