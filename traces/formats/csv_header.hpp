// The columns of a CSV trace: labels by name, then a run of numbered columns (e0,e1,... or id0,id1,...).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "traces/rows.hpp"

namespace moesim {

enum class CsvLabel : std::uint8_t { kIteration, kLayer, kMicroBatch, kSourceRank, kToken, kTask };

struct CsvHeader {
  std::vector<CsvLabel> labels;  // the leading columns
  std::size_t numbered = 0;      // how many e<i> or id<i> columns follow
  [[nodiscard]] bool has(CsvLabel label) const;
};

// True when the line has a column named `prefix`0.
[[nodiscard]] bool csv_has_numbered(std::string_view line, std::string_view prefix);

// Accepts iter|iteration|step, layer|layer_id, micro_batch|mb, src_rank|source_rank|rank, token, task in any order.
[[nodiscard]] Result<CsvHeader> parse_csv_header(std::string_view line, std::string_view prefix,
                                                 const std::string& place);

}  // namespace moesim
