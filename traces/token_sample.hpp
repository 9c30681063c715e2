// Which experts tokens chose TOGETHER: a bounded sample of token rows, drawn evenly from each iteration and layer.
//
// Why rows and not counts of pairs: on how many nodes a token's k experts stand follows from the whole set. Pairs tell it for k = 2
// only; the chance that none of six is on a node takes the counts of all sets of up to six experts.
//
// A row's priority is a hash of its iteration, rank, micro-batch and number; the rows with the lowest ones stay (bottom-k, Cohen and
// Kaplan 2007). So what is kept does not depend on the order of the input, the same tokens are kept in all layers, and when the whole grows
// beyond its limit, half of each sample can be dropped and the rest is still an even one. While no more rows came than are kept the
// sample is the recording.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "traces/rows.hpp"

namespace moesim {

// Rows of one iteration and layer, in the order of their priorities.
struct TokenSet {
  int top_k = 0;
  std::vector<std::int32_t> experts;  // [token][top_k]; -1: a choice that was dropped
  std::vector<std::int32_t> sources;  // [token], the rank that the token came from, as recorded
  std::int64_t seen = 0;              // rows of the recording; more than size() where they were sampled

  [[nodiscard]] std::size_t size() const { return sources.size(); }
  [[nodiscard]] bool sampled() const { return seen > static_cast<std::int64_t>(size()); }
  [[nodiscard]] std::span<const std::int32_t> of(std::size_t token) const {
    return std::span<const std::int32_t>(experts).subspan(token * static_cast<std::size_t>(top_k),
                                                          static_cast<std::size_t>(top_k));
  }
};

struct TokenSampleLimits {
  std::size_t rows_per_set = 4096;
  std::size_t rows = 4 << 20;  // of all sets; 32 B and 4 B a choice each
};

class TokenSample : public RowSink {
 public:
  explicit TokenSample(const TokenSampleLimits& limits = {}) : limits_(limits), kept_(limits.rows_per_set) {}
  [[nodiscard]] Status counts(const CountRow& row) override;  // not looked at
  [[nodiscard]] Status token(const TokenRow& row) override;

  [[nodiscard]] bool empty() const { return sets_.empty(); }
  // By the labels of the recording; empty where it has no rows.
  [[nodiscard]] TokenSet of(std::int64_t iteration, std::int32_t layer) const;

 private:
  struct Row {
    std::uint64_t priority = 0;
    std::int64_t token = 0;  // breaks ties
    std::int32_t source = 0;
    std::vector<std::int32_t> experts;
    bool operator<(const Row& other) const {
      return std::tie(priority, token, source) < std::tie(other.priority, other.token, other.source);
    }
  };
  struct Set {
    std::vector<Row> rows;  // a heap, the highest priority first
    std::int64_t seen = 0;
  };
  void halve();

  TokenSampleLimits limits_;
  std::size_t kept_;  // of a set
  std::size_t rows_ = 0;
  std::map<std::pair<std::int64_t, std::int32_t>, Set> sets_;
};

}  // namespace moesim
