// Stands between an importer and the consumer of its rows: lets only well-formed rows pass (errors name file and line)
// and counts what looks wrong in them (findings). Memory is bounded: at most 4 Mi row keys are kept for the search for
// duplicates, 128 MiB.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "traces/findings.hpp"
#include "traces/rows.hpp"
#include "traces/trace_info.hpp"

namespace moesim {

class RowKeySet {
 public:
  // False when the key was there already.
  [[nodiscard]] bool insert(const RowKey& key);
  [[nodiscard]] std::size_t size() const { return used_; }
  void clear();

 private:
  struct Slot {
    std::uint64_t iteration = 0;
    std::uint64_t rest = 0;  // 0: free
  };
  void grow();
  std::vector<Slot> slots_;
  std::size_t used_ = 0;
};

class TraceInspector : public RowSink {
 public:
  // `info` is read when rows arrive: whoever knows top_k and tokens has set them by then.
  TraceInspector(const TraceInfo& info, Findings& findings, RowSink& next)
      : info_(info), findings_(findings), next_(next) {}
  [[nodiscard]] Status counts(const CountRow& row) override;
  [[nodiscard]] Status token(const TokenRow& row) override;

  // What can be said only after the last row. `name` is the input's, for errors.
  [[nodiscard]] Status finish(const std::string& name);

  [[nodiscard]] std::uint64_t rows() const { return rows_; }
  [[nodiscard]] int experts() const { return static_cast<int>(experts_); }
  // The sum that all non-zero rows have in common, or 0.
  [[nodiscard]] std::uint64_t common_row_sum() const { return smallest_sum_ == largest_sum_ ? largest_sum_ : 0; }
  // Some row was recorded per source rank (not summed).
  [[nodiscard]] bool per_rank() const { return per_rank_rows_ > 0; }

 private:
  [[nodiscard]] Status check_shape(const CountRow& row);
  [[nodiscard]] Status check_duplicate(const CountRow& row);
  void check_sum(const CountRow& row);
  void check_repetition(const CountRow& row);

  const TraceInfo& info_;
  Findings& findings_;
  RowSink& next_;
  std::size_t experts_ = 0;
  std::uint64_t rows_ = 0;
  std::uint64_t per_rank_rows_ = 0;
  std::uint64_t smallest_sum_ = UINT64_MAX;
  std::uint64_t largest_sum_ = 0;
  std::map<std::int32_t, bool> layer_busy_;  // by layer label: has a non-zero row
  RowKeySet seen_;
  RowKey last_{INT64_MIN, 0, 0, 0};
  bool ascending_ = true;
  bool forgot_keys_ = false;
  std::vector<std::uint32_t> previous_;
  std::uint64_t identical_ = 1;
};

}  // namespace moesim
