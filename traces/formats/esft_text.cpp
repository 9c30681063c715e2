// ESFT dumps: expert_weights_{layer}.txt, one line per sequence: the expert ids of its tokens one after the other,
// separated by tabs, two tabs, and the gate weights in the same order (not used here). Ids per token are not marked: 6, as
// in the models ESFT was made for, unless top_k is given.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "traces/formats/formats.hpp"
#include "traces/input/number_parser.hpp"

namespace moesim {
namespace {

constexpr std::int64_t kEsftTopK = 6;

bool parse_layer_name(std::string_view path, std::int32_t& layer) {
  std::string_view file = path.substr(path.find_last_of('/') + 1);
  for (const std::string_view suffix : {".zst", ".gz"})
    if (file.ends_with(suffix)) file.remove_suffix(suffix.size());
  constexpr std::string_view kPrefix = "expert_weights_";
  return file.starts_with(kPrefix) && file.ends_with(".txt") &&
         parse_integer<std::int32_t>(file.substr(kPrefix.size(), file.size() - kPrefix.size() - 4), 0, 65534, layer);
}

Status read_line(ImportJob& job, std::string_view line, const TracePlace& place, RowKey key, std::int64_t& token,
                 std::vector<std::int32_t>& ids) {
  const std::size_t gap = line.find("\t\t");
  if (gap == std::string_view::npos)
    return invalid_input("no double tab between expert ids and weights", place.text(), "is the file complete?");
  const std::vector<std::string_view> words = split(line.substr(0, gap), '\t');
  const auto top_k = static_cast<std::size_t>(job.info.top_k);
  if (words.size() % top_k != 0)
    return invalid_input(
        fmt::format("{} expert ids are not a whole number of tokens with {} each", words.size(), top_k), place.text(),
        "give the model's top_k in the side file");
  ids.resize(top_k);
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (!parse_integer<std::int32_t>(words[i], -1, INT32_MAX, ids[i % top_k]))
      return invalid_input(fmt::format("'{}' is not an expert id", words[i].substr(0, 40)), place.text());
    if ((i + 1) % top_k != 0) continue;
    MOESIM_TRY(job.sink.token({key, token++, ids, place}));
  }
  return {};
}

Status read_layer(ImportJob& job, InputStream& stream, std::int32_t layer) {
  MOESIM_TRY(stream.begin_text());
  std::vector<std::int32_t> ids;
  std::int64_t token = 0;
  std::string_view line;
  for (std::int64_t sequence = 0;; ++sequence) {
    MOESIM_ASSIGN(const bool more, stream.next_line(line));
    if (!more) return {};
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    const RowKey key = sequence_key(job.options, sequence, layer);
    MOESIM_TRY(read_line(job, line, {stream.name(), stream.line_number()}, key, token, ids));
  }
}

Status read_dump(ImportJob& job) {
  note_sequences_as_ranks(job);
  if (job.info.top_k == 0) {
    job.info.top_k = kEsftTopK;
    job.findings.add(
        Severity::kNotice, "top-k-assumed",
        fmt::format("ESFT dumps do not mark tokens: {} ids each are assumed; give top_k otherwise", kEsftTopK),
        job.probe.path);
  }
  std::int32_t layer = 0;
  if (!job.probe.is_folder) {
    if (!parse_layer_name(job.probe.path, layer))
      job.findings.add(Severity::kNotice, "name-without-labels",
                       "the file is not named expert_weights_<layer>.txt: layer 0 is assumed", job.probe.path);
    return read_layer(job, *job.stream, layer);
  }
  for (const std::string& file : job.probe.files) {
    if (!parse_layer_name(file, layer)) continue;
    MOESIM_ASSIGN(InputStream stream, InputStream::open(job.probe.path + "/" + file));
    MOESIM_TRY(read_layer(job, stream, layer));
  }
  return {};
}

bool recognises_dump(const InputProbe& probe) {
  std::int32_t layer = 0;
  if (probe.is_folder)
    return std::any_of(probe.files.begin(), probe.files.end(),
                       [&](const std::string& file) { return parse_layer_name(file, layer); });
  if (parse_layer_name(probe.path, layer)) return true;
  // Digits and tabs from the start, then a number with a fraction after the double tab.
  const std::string_view line = probe.first_line();
  const std::size_t end = line.find_first_not_of("0123456789\t");
  return line.find('\t') < end && line.substr(0, end).find("\t\t") != std::string_view::npos;
}

}  // namespace

const TraceFormat kEsftText = {"esft-text", "ESFT dumps: expert_weights_<layer>.txt, as a folder or a file",
                               recognises_dump, read_dump};

}  // namespace moesim
