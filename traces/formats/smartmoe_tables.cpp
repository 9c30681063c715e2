// The tables of the SmartMoE artifact: table_iter{I}_rank{R}.log, one line per layer,
//   L:[[c0, c1, ...], [...], ...]        one inner list per micro-batch, counts written as floats
// as a folder, one file, or a tar archive of them. Counts are by source rank and before any drop (a plain top-2 gate in
// the artifact; the tables themselves do not say).
#include <fmt/format.h>

#include <algorithm>

#include "base/file.hpp"
#include "traces/formats/formats.hpp"
#include "traces/input/number_parser.hpp"
#include "traces/input/tar_reader.hpp"

namespace moesim {
namespace {

constexpr std::uint64_t kLargestTable = 256 << 20;

struct TableName {
  std::int64_t iteration = 0;
  std::int32_t rank = 0;
};

bool parse_table_name(std::string_view path, TableName& name) {
  std::string_view file = path.substr(path.find_last_of('/') + 1);
  for (const std::string_view suffix : {".zst", ".gz"})
    if (file.ends_with(suffix)) file.remove_suffix(suffix.size());
  constexpr std::string_view kPrefix = "table_iter";
  if (!file.starts_with(kPrefix) || !file.ends_with(".log")) return false;
  const std::size_t rank = file.find("_rank");
  if (rank == std::string_view::npos) return false;
  return parse_integer<std::int64_t>(file.substr(kPrefix.size(), rank - kPrefix.size()), 0, INT64_MAX,
                                     name.iteration) &&
         parse_integer<std::int32_t>(file.substr(rank + 5, file.size() - rank - 9), 0, INT32_MAX, name.rank);
}

class TableParser {
 public:
  TableParser(RowSink& sink, std::string_view file, std::string_view content, const TableName& name)
      : sink_(sink), file_(file), p_(content.data()), end_(p_ + content.size()) {
    key_.iteration = name.iteration;
    key_.source_rank = name.rank;
  }

  Status parse() {
    if (p_ == end_) return invalid_input("file is empty", std::string(file_), "is the recording complete?");
    while (p_ != end_) {
      ++line_;
      skip_blanks();
      if (p_ != end_ && *p_ != '\n') {
        MOESIM_TRY(parse_line());
      }
      if (p_ != end_ && *p_ == '\n') ++p_;
    }
    return {};
  }

 private:
  Status parse_line() {
    std::uint32_t layer = 0;
    const char* const after = parse_count(p_, end_, layer);
    if (after == nullptr || after == end_ || *after != ':' || layer > INT32_MAX)
      return error("a line begins with 'layer:'");
    p_ = after + 1;
    key_.layer = static_cast<std::int32_t>(layer);
    key_.micro_batch = 0;
    MOESIM_TRY(expect('['));
    do {
      MOESIM_TRY(parse_list());
      MOESIM_TRY(sink_.counts({key_, counts_, {file_, line_}}));
      ++key_.micro_batch;
    } while (take(','));
    MOESIM_TRY(expect(']'));
    skip_blanks();
    return p_ == end_ || *p_ == '\n' ? Status{} : error("text after the closing bracket");
  }

  Status parse_list() {
    MOESIM_TRY(expect('['));
    counts_.clear();
    do {
      skip_blanks();
      std::uint32_t count = 0;
      const char* const after = parse_count(p_, end_, count);
      if (after == nullptr) {
        const std::string_view rest(p_, static_cast<std::size_t>(end_ - p_));
        return error(describe_bad_count(rest.substr(0, rest.find_first_of(",]\n"))));
      }
      p_ = after;
      counts_.push_back(count);
    } while (take(','));
    return expect(']');
  }

  void skip_blanks() {
    while (p_ != end_ && (*p_ == ' ' || *p_ == '\t' || *p_ == '\r')) ++p_;
  }
  bool take(char wanted) {
    skip_blanks();
    if (p_ == end_ || *p_ != wanted) return false;
    ++p_;
    return true;
  }
  Status expect(char wanted) {
    if (take(wanted)) return {};
    if (p_ == end_) return error(fmt::format("text ends where '{}' is expected: is the file complete?", wanted));
    return error(fmt::format("expected '{}'", wanted));
  }
  [[nodiscard]] tl::unexpected<Error> error(std::string what) const {
    return invalid_input(std::move(what), TracePlace{file_, line_}.text());
  }

  RowSink& sink_;
  std::string_view file_;
  const char* p_;
  const char* end_;
  std::uint64_t line_ = 0;
  RowKey key_;
  std::vector<std::uint32_t> counts_;
};

Status read_folder(ImportJob& job) {
  for (const std::string& file : job.probe.files) {
    TableName name;
    if (!parse_table_name(file, name)) continue;
    const std::string path = job.probe.path + "/" + file;
    MOESIM_ASSIGN(InputStream stream, InputStream::open(path));
    MOESIM_ASSIGN(const std::string content, stream.read_all(kLargestTable));
    MOESIM_TRY(TableParser(job.sink, path, content, name).parse());
  }
  return {};
}

Status read_archive(ImportJob& job) {
  TarReader archive(*job.stream, kLargestTable);
  TarEntry entry;
  std::uint64_t tables = 0;
  std::uint64_t others = 0;
  while (true) {
    MOESIM_ASSIGN(const bool more, archive.next(entry));
    if (!more) break;
    TableName name;
    if (!parse_table_name(entry.name, name)) {
      ++others;
      continue;
    }
    ++tables;
    const std::string place = fmt::format("{}:{}", job.stream->name(), entry.name);
    MOESIM_TRY(TableParser(job.sink, place, entry.content, name).parse());
  }
  if (tables == 0)
    return invalid_input("archive holds no file named table_iter*_rank*.log", job.stream->name(),
                         "unpack other recordings and give the folder");
  if (others > 0)
    job.findings.add(Severity::kInfo, "other-files", "files in the archive that are no SmartMoE tables are left out",
                     job.stream->name(), others);
  return {};
}

Status read_file_alone(ImportJob& job) {
  TableName name;
  if (!parse_table_name(job.probe.path, name))
    job.findings.add(Severity::kNotice, "name-without-labels",
                     "the file is not named table_iter<I>_rank<R>.log: iteration 0 and source rank 0 are assumed",
                     job.probe.path);
  MOESIM_TRY(job.stream->begin_text());
  MOESIM_ASSIGN(const std::string content, job.stream->read_all(kLargestTable));
  return TableParser(job.sink, job.stream->name(), content, name).parse();
}

bool recognises_tables(const InputProbe& probe) {
  TableName name;
  if (probe.is_folder)
    return std::any_of(probe.files.begin(), probe.files.end(),
                       [&](const std::string& file) { return parse_table_name(file, name); });
  if (TarReader::recognises(probe.head)) return true;
  const std::string_view line = probe.first_line();
  const std::size_t digits = line.find_first_not_of("0123456789");
  return digits != 0 && digits != std::string_view::npos && line.substr(digits).starts_with(":[");
}

}  // namespace

const TraceFormat kSmartMoeTables = {
    "smartmoe-tables", "SmartMoE artifact tables: table_iter<I>_rank<R>.log, as a folder, a file or a tar archive",
    recognises_tables, [](ImportJob& job) -> Status {
      if (job.info.drops == TraceDrops::kUnknown) job.info.drops = TraceDrops::kBefore;
      if (job.info.phase == TracePhase::kUnknown) job.info.phase = TracePhase::kTraining;
      if (job.probe.is_folder) return read_folder(job);
      return TarReader::recognises(job.probe.head) ? read_archive(job) : read_file_alone(job);
    }};

}  // namespace moesim
