// Turns token rows into count rows, exactly: count[e] = number of ids equal to e. Count rows pass through unchanged.
//
// One iteration is held at a time; its rows are emitted, in ascending order of their keys, when the next one begins.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "traces/findings.hpp"
#include "traces/rows.hpp"
#include "traces/trace_info.hpp"

namespace moesim {

class TokenCounter : public RowSink {
 public:
  // `experts` 0: the largest id seen in the first iteration decides, at least `info.model_experts` when that is known.
  // `forward` receives the token rows themselves too, and may be null.
  TokenCounter(TraceInfo& info, Findings& findings, RowSink& next, RowSink* forward, std::uint64_t limit_bytes)
      : info_(info), findings_(findings), next_(next), forward_(forward), limit_bytes_(limit_bytes) {}
  [[nodiscard]] Status counts(const CountRow& row) override { return next_.counts(row); }
  [[nodiscard]] Status token(const TokenRow& row) override;
  [[nodiscard]] Status finish();

 private:
  struct Group {
    std::vector<std::uint32_t> counts;
    std::string file;
    std::uint64_t line = 0;  // of the first token
  };
  [[nodiscard]] Status emit();
  [[nodiscard]] Status check_ids(const TokenRow& row);

  TraceInfo& info_;
  Findings& findings_;
  RowSink& next_;
  RowSink* forward_;
  std::uint64_t limit_bytes_;
  std::size_t experts_ = 0;  // fixed by the first iteration emitted
  std::size_t top_k_ = 0;
  std::int64_t iteration_ = 0;
  std::uint64_t bytes_ = 0;
  std::map<RowKey, Group> groups_;
  Group* last_group_ = nullptr;
  RowKey last_key_;
};

}  // namespace moesim
