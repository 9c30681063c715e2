// Time as a function of bytes in pieces, each a start-up and a rate: alpha + bytes * per_byte (Hockney's model, with the
// breakpoints that protocols and caches make).
//
// Worked: pieces {from 0: 10 us, 1 ns/B} and {from 4096: 20 us, 0.5 ns/B}: 1000 B take 11 us, 8000 B 24 us.
// Below the first and above the last measured size the outer pieces go on, and covers() says no.
#pragma once

#include <vector>

#include "base/units.hpp"

namespace moesim {

struct TimePiece {
  double from_bytes = 0;
  double alpha_s = 0;
  double s_per_byte = 0;
};

struct TimePoint {
  double bytes = 0;
  double seconds = 0;
};

struct PiecewiseTime {
  std::vector<TimePiece> pieces;  // by from_bytes; never empty
  double smallest_bytes = 0;      // measured
  double largest_bytes = 0;

  [[nodiscard]] Seconds at(double bytes) const {
    const TimePiece* piece = &pieces.front();
    for (const TimePiece& next : pieces)
      if (next.from_bytes <= bytes) piece = &next;
    return Seconds(piece->alpha_s + bytes * piece->s_per_byte);
  }
  [[nodiscard]] bool covers(double bytes) const { return bytes >= smallest_bytes && bytes <= largest_bytes; }
};

}  // namespace moesim
