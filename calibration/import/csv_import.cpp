// CSV of three kinds, told apart by the header; times in microseconds:
//   operation,ranks,size_bytes,time_us[,algorithm]   collectives; ranks fill the nodes of the cluster in order
//   m,n,k,time_us[,type]                             matrix products
//   kernel,bytes,time_us[,type]                      memory-bound kernels; bytes read and written together
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/csv.hpp"
#include "base/text.hpp"
#include "calibration/import/observations.hpp"

namespace moesim {
namespace {

constexpr std::int64_t kLargest = std::int64_t{1} << 50;

tl::unexpected<Error> error_in(const CsvReader& reader, std::string what) {
  return invalid_input(std::move(what), reader.place());
}

template <class Enum>
Result<Enum> word(const CsvReader& reader, std::string_view column, int count, std::string_view (*name_of)(Enum)) {
  const std::string_view text = reader.text(column);
  std::vector<std::string> known;
  for (int i = 0; i < count; ++i) {
    if (text == name_of(static_cast<Enum>(i))) return static_cast<Enum>(i);
    known.emplace_back(name_of(static_cast<Enum>(i)));
  }
  return error_in(
      reader, fmt::format("{}: '{}' is none of {}{}", column, text, fmt::join(known, ", "), did_you_mean(text, known)));
}

Result<std::int64_t> whole(const CsvReader& reader, std::string_view column, std::int64_t largest) {
  MOESIM_ASSIGN(const std::optional<std::int64_t> value, reader.integer(column));
  if (!value || *value < 1 || *value > largest)
    return error_in(reader, fmt::format("{} must be a whole number from 1 to {}", column, largest));
  return *value;
}

Result<DType> type_of(const CsvReader& reader) {
  if (reader.text("type").empty()) return DType::kBf16;
  Result<DType> type = parse_dtype(reader.text("type"));
  if (!type) return error_in(reader, type.error().what);
  return type;
}

Result<BenchWork> collective_row(const CsvReader& reader) {
  CollectiveWork work;
  MOESIM_ASSIGN(work.kind, word(reader, "operation", kCollectiveKinds, collective_name));
  if (!reader.text("algorithm").empty()) {
    MOESIM_ASSIGN(work.algorithm, word(reader, "algorithm", kCollectiveAlgorithms, algorithm_name));
  }
  MOESIM_ASSIGN(const std::int64_t ranks, whole(reader, "ranks", 65536));
  if (ranks < 2) return error_in(reader, "ranks must be 2 at least");
  MOESIM_ASSIGN(const std::int64_t size, whole(reader, "size_bytes", kLargest));
  work.size = Bytes(size);
  std::vector<RankId>& group = work.groups.emplace_back();
  for (std::int64_t rank = 0; rank < ranks; ++rank) group.emplace_back(static_cast<std::int32_t>(rank));
  return BenchWork(std::move(work));
}

Result<BenchWork> gemm_row(const CsvReader& reader) {
  GemmWork work;
  MOESIM_ASSIGN(work.m, whole(reader, "m", kLargest));
  MOESIM_ASSIGN(work.n, whole(reader, "n", kLargest));
  MOESIM_ASSIGN(work.k, whole(reader, "k", kLargest));
  MOESIM_ASSIGN(work.type, type_of(reader));
  work.output = work.type;
  return BenchWork(work);
}

Result<BenchWork> memory_row(const CsvReader& reader) {
  MemoryWork work;
  MOESIM_ASSIGN(work.kernel, word(reader, "kernel", kMemoryKernels, memory_kernel_name));
  MOESIM_ASSIGN(work.type, type_of(reader));
  MOESIM_ASSIGN(const std::int64_t bytes, whole(reader, "bytes", kLargest));
  work.read = Bytes(bytes);
  return BenchWork(work);
}

using RowReader = Result<BenchWork> (*)(const CsvReader&);
RowReader reader_for(const CsvReader& reader) {
  const auto all = [&](std::initializer_list<std::string_view> columns) {
    return std::ranges::all_of(columns, [&](std::string_view column) { return reader.has_column(column); });
  };
  if (!reader.has_column("time_us")) return nullptr;
  if (all({"operation", "ranks", "size_bytes"})) return collective_row;
  if (all({"m", "n", "k"})) return gemm_row;
  if (all({"kernel", "bytes"})) return memory_row;
  return nullptr;
}

}  // namespace

bool is_plain_csv(std::string_view text) {
  const std::string first_line(text.substr(0, text.find('\n')));
  const Result<CsvReader> reader = CsvReader::from_text(first_line + "\n", "");
  return reader && reader_for(*reader) != nullptr;
}

Result<Observations> read_plain_csv(std::string_view text, const std::string& name) {
  MOESIM_ASSIGN(CsvReader reader, CsvReader::from_text(std::string(text), name));
  const RowReader read_row = reader_for(reader);
  if (read_row == nullptr) return error_in(reader, "the columns are of no known kind of measurements");
  Observations all;
  all.source = name.substr(name.rfind('/') + 1);
  while (true) {
    MOESIM_ASSIGN(const bool more, reader.next());
    if (!more) break;
    MOESIM_ASSIGN(BenchWork work, read_row(reader));
    MOESIM_ASSIGN(const std::optional<double> time, reader.number("time_us"));
    if (!time || *time <= 0 || *time > 1e12) return error_in(reader, "time_us must be above 0");
    all.rows.push_back({.work = std::move(work), .seconds = *time * 1e-6, .name = reader.place()});
  }
  if (all.rows.empty()) return error_in(reader, "no rows");
  return all;
}

}  // namespace moesim
