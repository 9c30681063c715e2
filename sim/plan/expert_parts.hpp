// Which replica holds which numbers of an expert, and what has to go where when the expert takes another place.
//
// A rank holds a matrix of its local experts one below the other, and ZeRO cuts all of it over the replicas (owned_range.hpp), not
// each expert: with as many replicas as experts every replica has one expert's numbers. So an expert that changes its place
// also changes its owner, even on its own device.
// Worked: 3 experts of 2 numbers on 2 replicas, so parts of 3. The expert in place 1 has one number in either part; in place 0 both
// are in the first. On its way there its first number stays with replica 0 and its second goes from 1 to 0.
#pragma once

#include <cstdint>
#include <vector>

namespace moesim {

// One matrix of the experts of a rank.
struct CutExperts {
  std::int64_t numbers = 0;  // of one expert
  std::int64_t places = 0;   // experts of a rank
  int parts = 1;             // replicas that each have a part; 1: whole
  [[nodiscard]] std::int64_t part() const { return (numbers * places + parts - 1) / parts; }  // of all, rounded up
};

// Numbers [begin, begin + count) of an expert go from one replica to another, or stay.
struct PartRun {
  int from = 0;
  int to = 0;
  std::int64_t begin = 0;
  std::int64_t count = 0;
  bool operator==(const PartRun&) const = default;
};

// Of the expert that stood in place `before` of a rank and will stand in place `after` of the same or another, in order.
[[nodiscard]] std::vector<PartRun> part_runs(const CutExperts& cut, std::int64_t before, std::int64_t after);

}  // namespace moesim
