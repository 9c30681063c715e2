// Our canonical counts: iter,layer,micro_batch,src_rank,e0,...,e{E-1}. Columns may be missing: no iter is iteration 0, no
// micro_batch is 0, no src_rank is summed over ranks. A column 'task' in place of iter numbers the tasks in order of
// appearance.
#include <fmt/format.h>

#include <map>

#include "traces/formats/csv_header.hpp"
#include "traces/formats/formats.hpp"
#include "traces/input/number_parser.hpp"

namespace moesim {
namespace {

class CountsCsvReader {
 public:
  explicit CountsCsvReader(ImportJob& job) : job_(job) {}

  Status read() {
    MOESIM_TRY(job_.stream->begin_text());
    std::string_view line;
    MOESIM_ASSIGN(const bool any, job_.stream->next_line(line));
    if (!any) return invalid_input("file is empty", job_.stream->name());
    MOESIM_ASSIGN(header_, parse_csv_header(line, "e", job_.stream->place()));
    note_missing_columns();
    counts_.resize(header_.numbered);
    while (true) {
      MOESIM_ASSIGN(const bool more, job_.stream->next_line(line));
      if (!more) return {};
      if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
      MOESIM_TRY(read_row(line));
    }
  }

 private:
  void note_missing_columns() {
    if (!header_.has(CsvLabel::kSourceRank))
      job_.findings.add(Severity::kInfo, "no-source-rank",
                        "no column src_rank: rows are taken as summed over source ranks", job_.stream->place());
    if (header_.has(CsvLabel::kTask))
      job_.findings.add(Severity::kInfo, "tasks-as-iterations",
                        "a column 'task' and no iterations: tasks are numbered 0, 1, ... as iterations",
                        job_.stream->place());
  }

  Status read_label(CsvLabel label, std::string_view cell, RowKey& key) {
    bool good = true;
    switch (label) {
      case CsvLabel::kIteration: good = parse_integer<std::int64_t>(cell, 0, INT64_MAX, key.iteration); break;
      case CsvLabel::kLayer: good = parse_integer<std::int32_t>(cell, 0, INT32_MAX - 1, key.layer); break;
      case CsvLabel::kMicroBatch: good = parse_integer<std::int32_t>(cell, 0, INT32_MAX - 1, key.micro_batch); break;
      case CsvLabel::kSourceRank: good = parse_integer<std::int32_t>(cell, -1, INT32_MAX - 1, key.source_rank); break;
      case CsvLabel::kToken: return invalid_input("a table of counts has no column 'token'", job_.stream->place());
      case CsvLabel::kTask:
        key.iteration = tasks_.try_emplace(std::string(cell), static_cast<std::int64_t>(tasks_.size())).first->second;
        break;
    }
    if (good) return {};
    return invalid_input(fmt::format("'{}' is not a whole number in range", cell.substr(0, 40)), job_.stream->place());
  }

  Status read_row(std::string_view line) {
    const char* p = line.data();
    const char* const end = p + line.size();
    RowKey key;
    for (const CsvLabel label : header_.labels) {
      const std::string_view rest(p, static_cast<std::size_t>(end - p));
      const std::size_t comma = rest.find(',');
      if (comma == std::string_view::npos) return short_row();
      MOESIM_TRY(read_label(label, rest.substr(0, comma), key));
      p += comma + 1;
    }
    for (std::size_t e = 0; e < counts_.size(); ++e) {
      const char* const start = p;
      p = parse_count(p, end, counts_[e]);
      const bool last = e + 1 == counts_.size();
      if (p != nullptr && (last ? p == end : p != end && *p == ',')) {
        p += last ? 0 : 1;
        continue;
      }
      const std::string_view rest(start, static_cast<std::size_t>(end - start));
      if (p != nullptr && p == end) return short_row();
      if (p != nullptr && last && *p == ',')
        return invalid_input(
            fmt::format("row has more columns than the header's {}", header_.labels.size() + header_.numbered),
            job_.stream->place());
      return invalid_input(fmt::format("column e{}: {}", e, describe_bad_count(rest)), job_.stream->place());
    }
    return job_.sink.counts({key, counts_, {job_.stream->name(), job_.stream->line_number()}});
  }

  [[nodiscard]] tl::unexpected<Error> short_row() const {
    return invalid_input(
        fmt::format("row has fewer columns than the header's {}", header_.labels.size() + header_.numbered),
        job_.stream->place(), "is the file complete?");
  }

  ImportJob& job_;
  CsvHeader header_;
  std::vector<std::uint32_t> counts_;
  std::map<std::string, std::int64_t, std::less<>> tasks_;
};

}  // namespace

const TraceFormat kCountsCsv = {
    "counts-csv", "counts per expert as CSV: iter,layer,micro_batch,src_rank,e0,e1,...",
    [](const InputProbe& probe) { return !probe.is_folder && csv_has_numbered(probe.first_line(), "e"); },
    [](ImportJob& job) -> Status { return CountsCsvReader(job).read(); }};

}  // namespace moesim
