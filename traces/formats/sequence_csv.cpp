// One row per token, one column per layer: seq,pos,L1,L2,...; a cell holds the token's expert ids separated by blanks.
//
// Such recordings name neither iterations nor ranks: sequence i is given to source rank i mod ImportOptions::sequence_ranks, in micro-batch 0
// of iteration floor(i / sequences_per_iteration), 0 where that is not given.
#include <fmt/format.h>

#include "base/text.hpp"
#include "traces/formats/formats.hpp"
#include "traces/input/number_parser.hpp"

namespace moesim {
namespace {

Result<std::vector<std::int32_t>> parse_layers(std::string_view header, const std::string& place) {
  std::vector<std::int32_t> layers;
  const std::vector<std::string_view> names = split(header, ',');
  for (std::size_t i = 2; i < names.size(); ++i) {
    const std::string_view name = trim(names[i]);
    std::int32_t layer = 0;
    if (!name.starts_with('L') || !parse_integer<std::int32_t>(name.substr(1), 0, 65534, layer))
      return invalid_input(fmt::format("column '{}' is not L<layer>", name.substr(0, 40)), place);
    layers.push_back(layer);
  }
  return layers;
}

Status parse_ids(std::string_view cell, std::vector<std::int32_t>& ids, const std::string& place) {
  ids.clear();
  for (const std::string_view word : split(trim(cell), ' ')) {
    std::int32_t id = 0;
    if (!parse_integer<std::int32_t>(word, -1, INT32_MAX, id))
      return invalid_input(fmt::format("'{}' is not an expert id", word.substr(0, 40)), place);
    ids.push_back(id);
  }
  return {};
}

Status read_sequences(ImportJob& job) {
  InputStream& stream = *job.stream;
  MOESIM_TRY(stream.begin_text());
  std::string_view line;
  MOESIM_ASSIGN(bool more, stream.next_line(line));
  MOESIM_ASSIGN(const std::vector<std::int32_t> layers, parse_layers(line, stream.place()));
  note_sequences_as_ranks(job);
  std::vector<std::int32_t> ids;
  std::int64_t token = 0;
  while (true) {
    MOESIM_ASSIGN(more, stream.next_line(line));
    if (!more) return {};
    if (trim(line).empty()) continue;
    const std::vector<std::string_view> cells = split(line, ',');
    if (cells.size() != layers.size() + 2)
      return invalid_input(fmt::format("row has {} columns, the header {}", cells.size(), layers.size() + 2),
                           stream.place(), "is the file complete?");
    std::int64_t sequence = 0;
    if (!parse_integer<std::int64_t>(cells[0], 0, INT64_MAX, sequence))
      return invalid_input(fmt::format("'{}' is not a sequence number", cells[0].substr(0, 40)), stream.place());
    for (std::size_t l = 0; l < layers.size(); ++l) {
      MOESIM_TRY(parse_ids(cells[l + 2], ids, stream.place()));
      MOESIM_TRY(job.sink.token(
          {sequence_key(job.options, sequence, layers[l]), token, ids, {stream.name(), stream.line_number()}}));
    }
    ++token;
  }
}

}  // namespace

void note_sequences_as_ranks(ImportJob& job) {
  if (job.info.phase == TracePhase::kUnknown) job.info.phase = TracePhase::kInference;
  const std::int32_t batch = job.options.sequences_per_iteration;
  job.findings.add(Severity::kInfo, "sequences-as-ranks",
                   fmt::format("sequences carry no source rank: sequence i is given to source rank i mod {}, {}",
                               job.options.sequence_ranks,
                               batch == 0 ? std::string("all in one iteration and micro-batch")
                                          : fmt::format("{} of them are an iteration of one micro-batch", batch)),
                   job.probe.path);
}

RowKey sequence_key(const ImportOptions& options, std::int64_t sequence, std::int32_t layer) {
  const std::int64_t iteration = options.sequences_per_iteration > 0 ? sequence / options.sequences_per_iteration : 0;
  return {iteration, layer, 0, static_cast<std::int32_t>(sequence % options.sequence_ranks)};
}

const TraceFormat kSequenceCsv = {
    "sequence-csv", "expert ids per token and layer as CSV: seq,pos,L1,L2,... with blank-separated ids",
    [](const InputProbe& probe) { return !probe.is_folder && probe.first_line().starts_with("seq,pos,L"); },
    read_sequences};

}  // namespace moesim
