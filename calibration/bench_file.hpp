// What `moeexec bench` measured, sample by sample, as a file that is kept.
//
// {"schema": "moesim-bench/1", "program": "moeexec 0.1.0", "date": "2026-11-21T17:00:00Z", "command": "moeexec bench ...",
//  "hardware": "2-core VM", "backend": "cpu", "budget_s": 300, "hosts": ["a", "a", "b", "b"],
//  "cases": [{"name": "gemm fp32 64x1024x1024", "kind": "gemm", "m": 64, ..., "operations": 1, "end": "steady",
//             "seconds": [0.0013, 0.0013, ...]}, ...]}
//
// `hosts` names the host of each rank; ranks with one name share a machine. `seconds` are of one operation, the slowest
// rank's; where operations are short, a sample is the mean over `operations` of them in a row. Sizes are in bytes, and mean
// what models/cost/work.hpp and collective.hpp say.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.hpp"
#include "models/cost/collective.hpp"
#include "models/cost/exchange/algorithm.hpp"
#include "models/cost/work.hpp"

namespace moesim {

// As GroupedGemmWork, with rows of its own.
struct GroupedRows {
  std::vector<std::int64_t> rows;
  std::int64_t n = 0;
  std::int64_t k = 0;
  DType type = DType::kBf16;
  DType output = DType::kBf16;
  bool reduce_rows = false;
  [[nodiscard]] GroupedGemmWork work() const { return {rows, n, k, type, output, reduce_rows}; }
};

// An operation on nothing: what issuing one costs.
struct LaunchWork {};

// What the executor does for one operation of a step beside its kernel.
struct OperationWork {};

// The same collective in each of these groups at once.
struct CollectiveWork {
  CollectiveKind kind = CollectiveKind::kAllReduce;
  CollectiveAlgorithm algorithm = CollectiveAlgorithm::kAuto;
  std::vector<std::vector<RankId>> groups;
  Bytes size;
  ExchangeAlgorithm exchange = ExchangeAlgorithm::kLinear;  // of an all-to-all
};

// Several things at once, each collective on a channel of its own. Alone: no compute, or no collectives.
//   kCompute        until the GEMM has run `compute_repeats` times and each collective `collective_rounds` times, one after the
//                   other; they take about half as long as the GEMMs, so these could hide them
//   kCommunication  until each collective has run once, with GEMMs beside it all along
enum class OverlapMeasured : std::uint8_t { kCompute, kCommunication };
struct OverlapWork {
  OverlapMeasured measured = OverlapMeasured::kCompute;
  std::optional<GemmWork> compute;
  int compute_repeats = 1;
  int collective_rounds = 0;  // 0: not told; files that were made before it was
  std::vector<CollectiveWork> collectives;
};

using BenchWork = std::variant<GemmWork, GroupedRows, AttentionWork, MemoryWork, LaunchWork, OperationWork,
                               CollectiveWork, OverlapWork>;

enum class SamplesEnd : std::uint8_t {
  kSteady,   // the spread is below the bound
  kBudget,   // the case's time is gone
  kMost,     // as many samples as are ever taken
  kStopped,  // the user asked to finish
};

struct BenchCase {
  std::string name;
  BenchWork work;
  int operations = 1;
  SamplesEnd end = SamplesEnd::kSteady;
  std::vector<double> seconds;
};

struct BenchFile {
  std::string program;
  std::string date;  // as the program that measured knew it
  std::string command;
  std::string hardware;  // in the words of whoever measured
  std::string backend;   // "cpu", "cuda"
  double budget_s = 0;
  std::vector<std::string> hosts;
  std::vector<BenchCase> cases;
};

inline constexpr std::string_view kBenchSchema = "moesim-bench/1";

[[nodiscard]] std::string bench_json(const BenchFile& file);
[[nodiscard]] Result<BenchFile> parse_bench(std::string_view text, std::string name);

// Half of the samples lie within this share of the median: (third quartile - first) / median.
[[nodiscard]] double relative_spread(const std::vector<double>& seconds);

}  // namespace moesim
