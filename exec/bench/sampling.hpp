// When to stop measuring one case: steady, out of time, or often enough (the criteria of nvbench).
//
// A sample is the mean over some operations in a row, so that a sample of short ones lasts `shortest_sample`. Samples are taken
// until half of them lie within `spread` of the median, but `fewest` at least; or until the case's time is gone; or until
// there are `most`. A noisy case keeps all its samples and says that time ended it.
// Example, 1 ms operations, budget 0.1 s, spread 3 %: 9 samples when they agree, about 90 when they do not.
#pragma once

#include <optional>
#include <vector>

#include "base/units.hpp"
#include "calibration/bench_file.hpp"

namespace moesim {

struct SampleRules {
  double spread = 0.03;
  int fewest = 9;
  int most = 200;
  int fewest_without_time = 3;  // a case whose time is gone has so many all the same
  Seconds shortest_sample{200e-6};
  int most_operations = 10'000;  // in one sample
};

// Ranks leave the barrier before a sample one after the other, and whoever is first waits for the others within the operation. A
// sample of a collective therefore lasts ten times as long as such a barrier. *Barriers of 1 ms*: 7 collectives of 1.5 ms.
[[nodiscard]] SampleRules rules_for(const BenchWork& work, const SampleRules& rules, Seconds barrier);

// How many operations make one sample, when a single one takes `one`.
[[nodiscard]] int operations_per_sample(const SampleRules& rules, Seconds one);

class SampleSeries {
 public:
  SampleSeries(const SampleRules& rules, Seconds budget) : rules_(rules), budget_(budget) {}
  void add(Seconds sample) { seconds_.push_back(sample.value()); }
  // Why no more samples are needed after `spent` (warm-up included); nothing: go on.
  [[nodiscard]] std::optional<SamplesEnd> ended(Seconds spent) const;
  [[nodiscard]] const std::vector<double>& seconds() const { return seconds_; }

 private:
  SampleRules rules_;
  Seconds budget_;
  std::vector<double> seconds_;
};

}  // namespace moesim
