// Counts in long form, one expert per row: layer,expert,count (SGLang's older recorder writes layer_id,expert_id,count),
// with model, selection and domain columns where a table holds several recordings (OLMoE's analysis). Rows of other
// models and selections than the first are left out, as a finding; domains become iterations in order of appearance.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "base/text.hpp"
#include "traces/formats/formats.hpp"
#include "traces/input/number_parser.hpp"

namespace moesim {
namespace {

constexpr std::uint64_t kBytesPerCell = 48;  // one node of a map

enum class Column : std::uint8_t { kModel, kSelection, kDomain, kIteration, kLayer, kExpert, kCount };

struct ColumnSpelling {
  std::string_view name;
  Column column;
};
constexpr std::array<ColumnSpelling, 9> kColumnSpellings = {{{"model", Column::kModel},
                                                             {"selection", Column::kSelection},
                                                             {"domain", Column::kDomain},
                                                             {"iter", Column::kIteration},
                                                             {"layer", Column::kLayer},
                                                             {"layer_id", Column::kLayer},
                                                             {"expert", Column::kExpert},
                                                             {"expert_id", Column::kExpert},
                                                             {"count", Column::kCount}}};

std::optional<std::vector<Column>> parse_columns(std::string_view header) {
  std::vector<Column> columns;
  for (const std::string_view cell : split(header, ',')) {
    const auto* const known = std::find_if(kColumnSpellings.begin(), kColumnSpellings.end(),
                                           [&](const ColumnSpelling& s) { return s.name == trim(cell); });
    if (known == kColumnSpellings.end()) return std::nullopt;
    if (std::find(columns.begin(), columns.end(), known->column) != columns.end()) return std::nullopt;
    columns.push_back(known->column);
  }
  for (const Column needed : {Column::kLayer, Column::kExpert, Column::kCount})
    if (std::find(columns.begin(), columns.end(), needed) == columns.end()) return std::nullopt;
  return columns;
}

class LongCsvReader {
 public:
  LongCsvReader(ImportJob& job, std::vector<Column> columns) : job_(job), columns_(std::move(columns)) {}

  Status read() {
    std::string_view line;
    while (true) {
      MOESIM_ASSIGN(const bool more, job_.stream->next_line(line));
      if (!more) break;
      if (trim(line).empty()) continue;
      MOESIM_TRY(read_row(line));
    }
    return emit();
  }

 private:
  struct Cell {
    RowKey key;
    std::uint32_t expert = 0;
    std::uint32_t count = 0;
    bool wanted = true;
  };

  // A column that must keep the value of the first row.
  bool same_as_first(std::optional<std::string>& first, std::string_view value) {
    if (!first) first = std::string(value);
    return *first == value;
  }

  Status read_cell(Column column, std::string_view text, Cell& cell) {
    bool good = true;
    switch (column) {
      case Column::kModel: cell.wanted = same_as_first(model_, text) && cell.wanted; break;
      case Column::kSelection: cell.wanted = same_as_first(selection_, text) && cell.wanted; break;
      case Column::kDomain:
        if (cell.wanted)
          cell.key.iteration =
              domains_.try_emplace(std::string(text), static_cast<std::int64_t>(domains_.size())).first->second;
        break;
      case Column::kIteration: good = parse_integer<std::int64_t>(text, 0, INT64_MAX, cell.key.iteration); break;
      case Column::kLayer: good = parse_integer<std::int32_t>(text, 0, 65534, cell.key.layer); break;
      case Column::kExpert: good = parse_integer<std::uint32_t>(text, 0, 65535, cell.expert); break;
      case Column::kCount: {
        const char* const end = text.data() + text.size();
        if (parse_count(text.data(), end, cell.count) != end)
          return invalid_input(describe_bad_count(text), job_.stream->place());
        break;
      }
    }
    if (good) return {};
    return invalid_input(fmt::format("'{}' is not a whole number in range", text.substr(0, 40)), job_.stream->place());
  }

  Status read_row(std::string_view line) {
    const std::vector<std::string_view> texts = split(line, ',');
    if (texts.size() != columns_.size())
      return invalid_input(fmt::format("row has {} columns, the header {}", texts.size(), columns_.size()),
                           job_.stream->place(), "is the file complete?");
    Cell cell;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      MOESIM_TRY(read_cell(columns_[i], trim(texts[i]), cell));
    }
    if (!cell.wanted) {
      job_.findings.count(Severity::kDataLoss, "other-recordings", [&] {
        return std::pair(fmt::format("the table holds several recordings; only '{}{}{}' is read: cut the table to the "
                                     "one you want",
                                     model_.value_or(""), selection_ ? " / " : "", selection_.value_or("")),
                         job_.stream->place());
      });
      return {};
    }
    auto& row = rows_[cell.key];
    if (!row.emplace(cell.expert, cell.count).second)
      return invalid_input(fmt::format("expert {} of layer {} appears twice", cell.expert, cell.key.layer),
                           job_.stream->place());
    experts_ = std::max<std::size_t>(experts_, cell.expert + 1);
    if (++cells_ * kBytesPerCell > job_.options.memory_limit_bytes)
      return invalid_input(fmt::format("table needs more than {} MiB", job_.options.memory_limit_bytes >> 20),
                           job_.stream->place(), "cut it to fewer recordings");
    return {};
  }

  Status emit() {
    if (model_ && job_.info.model.empty()) job_.info.model = *model_;
    if (!domains_.empty())
      job_.findings.add(Severity::kInfo, "domains-as-iterations",
                        "domains are numbered 0, 1, ... as iterations, in order of appearance", job_.probe.path);
    job_.findings.add(Severity::kInfo, "no-source-rank", "the table is taken as summed over source ranks",
                      job_.probe.path);
    std::vector<std::uint32_t> counts(std::max(experts_, static_cast<std::size_t>(job_.info.model_experts)));
    for (const auto& [key, row] : rows_) {
      std::fill(counts.begin(), counts.end(), 0);
      for (const auto& [expert, count] : row) counts[expert] = count;
      MOESIM_TRY(job_.sink.counts({key, counts, {job_.stream->name(), 0}}));
    }
    return {};
  }

  ImportJob& job_;
  std::vector<Column> columns_;
  std::optional<std::string> model_;
  std::optional<std::string> selection_;
  std::map<std::string, std::int64_t, std::less<>> domains_;
  std::map<RowKey, std::map<std::uint32_t, std::uint32_t>> rows_;
  std::size_t experts_ = 0;
  std::uint64_t cells_ = 0;
};

}  // namespace

const TraceFormat kLongCsv = {
    "long-csv", "counts in long form as CSV: [model,selection,domain,]layer,expert,count",
    [](const InputProbe& probe) { return !probe.is_folder && parse_columns(probe.first_line()).has_value(); },
    [](ImportJob& job) -> Status {
      MOESIM_TRY(job.stream->begin_text());
      std::string_view line;
      MOESIM_ASSIGN(const bool any, job.stream->next_line(line));
      MOESIM_ASSERT(any);  // the header was recognised
      return LongCsvReader(job, *parse_columns(trim(line))).read();
    }};

}  // namespace moesim
