// Our canonical tokens: iter,layer,micro_batch,src_rank,token,id0,...,id{k-1}; -1 marks a choice that was dropped.
#include <fmt/format.h>

#include "base/text.hpp"
#include "traces/formats/csv_header.hpp"
#include "traces/formats/formats.hpp"
#include "traces/input/number_parser.hpp"

namespace moesim {
namespace {

bool read_label(CsvLabel label, std::string_view cell, TokenRow& row) {
  switch (label) {
    case CsvLabel::kIteration: return parse_integer<std::int64_t>(cell, 0, INT64_MAX, row.key.iteration);
    case CsvLabel::kLayer: return parse_integer<std::int32_t>(cell, 0, INT32_MAX - 1, row.key.layer);
    case CsvLabel::kMicroBatch: return parse_integer<std::int32_t>(cell, 0, INT32_MAX - 1, row.key.micro_batch);
    case CsvLabel::kSourceRank: return parse_integer<std::int32_t>(cell, -1, INT32_MAX - 1, row.key.source_rank);
    case CsvLabel::kToken: return parse_integer<std::int64_t>(cell, 0, INT64_MAX, row.token);
    case CsvLabel::kTask: return false;
  }
  return false;
}

Status read_tokens(ImportJob& job) {
  InputStream& stream = *job.stream;
  MOESIM_TRY(stream.begin_text());
  std::string_view line;
  MOESIM_ASSIGN(bool more, stream.next_line(line));
  MOESIM_ASSIGN(const CsvHeader header, parse_csv_header(line, "id", stream.place()));
  const std::size_t columns = header.labels.size() + header.numbered;
  std::vector<std::int32_t> ids(header.numbered);
  while (true) {
    MOESIM_ASSIGN(more, stream.next_line(line));
    if (!more) return {};
    if (trim(line).empty()) continue;
    const std::vector<std::string_view> cells = split(line, ',');
    if (cells.size() != columns)
      return invalid_input(fmt::format("row has {} columns, the header {}", cells.size(), columns), stream.place(),
                           cells.size() < columns ? "is the file complete?" : "");
    TokenRow row{{}, 0, ids, {stream.name(), stream.line_number()}};
    for (std::size_t i = 0; i < columns; ++i) {
      const bool good = i < header.labels.size()
                            ? read_label(header.labels[i], cells[i], row)
                            : parse_integer<std::int32_t>(cells[i], -1, INT32_MAX, ids[i - header.labels.size()]);
      if (!good)
        return invalid_input(fmt::format("'{}' is not a whole number in range", cells[i].substr(0, 40)),
                             stream.place());
    }
    MOESIM_TRY(job.sink.token(row));
  }
}

}  // namespace

const TraceFormat kTokensCsv = {
    "tokens-csv", "expert ids per token as CSV: iter,layer,micro_batch,src_rank,token,id0,id1,...",
    [](const InputProbe& probe) { return !probe.is_folder && csv_has_numbered(probe.first_line(), "id"); },
    read_tokens};

}  // namespace moesim
