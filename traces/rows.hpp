// The two kinds of rows every importer boils its format down to, and the interface they are pushed into, one at a time,
// so that a trace of any size passes through bounded memory.
#pragma once

#include <fmt/format.h>

#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace moesim {

// Source ranks start at 0; a row that holds the sum over all of them has this one.
constexpr std::int32_t kSummedOverRanks = -1;

struct RowKey {
  std::int64_t iteration = 0;
  std::int32_t layer = 0;  // model layer as the trace labels it
  std::int32_t micro_batch = 0;
  std::int32_t source_rank = kSummedOverRanks;
  auto operator<=>(const RowKey&) const = default;
};

struct TracePlace {
  std::string_view file;
  std::uint64_t line = 0;  // 0: the file as a whole
  [[nodiscard]] std::string text() const { return line == 0 ? std::string(file) : fmt::format("{}:{}", file, line); }
};

// How many of the (token, choice) pairs of one source rank and micro-batch went to each expert.
struct CountRow {
  RowKey key;
  std::span<const std::uint32_t> counts;  // [expert]; valid during the call only
  TracePlace place;
};

// The experts one token chose; -1 marks a choice that was dropped or padding.
struct TokenRow {
  RowKey key;
  std::int64_t token = 0;
  std::span<const std::int32_t> ids;  // [top_k]; valid during the call only
  TracePlace place;
};

class RowSink {
 public:
  RowSink() = default;
  RowSink(const RowSink&) = delete;
  RowSink& operator=(const RowSink&) = delete;
  virtual ~RowSink() = default;
  [[nodiscard]] virtual Status counts(const CountRow& row) = 0;
  // Token formats push these; a consumer of counts stands behind a TokenCounter and never sees them.
  [[nodiscard]] virtual Status token(const TokenRow& row) = 0;
};

}  // namespace moesim
