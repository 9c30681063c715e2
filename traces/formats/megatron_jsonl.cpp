// Megatron-LM --save-tokens-per-expert-interval: rank{R}.jsonl with lines
//   {"iter":100,"block":"decoder","layer":3,"tpe":[[128,64],[96,80]]}
// tpe holds, per micro-batch, the tokens the rank's LOCAL experts received (after dispatch and drops). Source ranks are
// gone, and which experts are local must be known: rank i of the ranks that hold a layer is taken to hold the experts
// block i mod EP of that layer, EP being all of these ranks unless ImportOptions::expert_parallel says otherwise.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/json_reader.hpp"
#include "base/text.hpp"
#include "traces/formats/formats.hpp"
#include "traces/input/number_parser.hpp"

namespace moesim {
namespace {

constexpr std::int64_t kMostAtOnce = 1 << 20;

bool parse_stats_name(std::string_view path, std::int32_t& rank) {
  std::string_view file = path.substr(path.find_last_of('/') + 1);
  for (const std::string_view suffix : {".zst", ".gz"})
    if (file.ends_with(suffix)) file.remove_suffix(suffix.size());
  constexpr std::string_view kPrefix = "rank";
  return file.starts_with(kPrefix) && file.ends_with(".jsonl") &&
         parse_integer<std::int32_t>(file.substr(kPrefix.size(), file.size() - kPrefix.size() - 6), 0, 16'000'000,
                                     rank);
}

class MegatronReader {
 public:
  explicit MegatronReader(ImportJob& job) : job_(job) {}

  Status read_rank(InputStream& stream, std::int32_t rank) {
    MOESIM_TRY(stream.begin_text());
    std::string_view line;
    while (true) {
      MOESIM_ASSIGN(const bool more, stream.next_line(line));
      if (!more) return {};
      if (trim(line).empty()) continue;
      MOESIM_ASSIGN(const JsonDocument document, JsonDocument::parse_text(line, stream.place()));
      MOESIM_TRY(read_record(document.root(), rank, stream.place()));
    }
  }

  Status emit() {
    std::vector<std::uint32_t> counts;
    for (const auto& [key, by_rank] : received_) {
      MOESIM_TRY(assemble(key, by_rank, counts));
      MOESIM_TRY(job_.sink.counts({key, counts, {job_.probe.path, 0}}));
    }
    return {};
  }

 private:
  using ByRank = std::map<std::int32_t, std::vector<std::uint32_t>>;

  Status read_record(JsonReader record, std::int32_t rank, const std::string& place) {
    MOESIM_ASSIGN(const std::string block, record.string_or("block", "decoder"));
    if (block != "decoder") {
      job_.findings.count(Severity::kDataLoss, "other-blocks", [&] {
        return std::pair(fmt::format("block '{}' is left out; only decoder layers are read", block), place);
      });
      return {};
    }
    RowKey key;
    MOESIM_ASSIGN(key.iteration, record.required_int("iter", 0, INT64_MAX));
    MOESIM_ASSIGN(const std::int64_t layer, record.required_int("layer", 0, 65534));
    key.layer = static_cast<std::int32_t>(layer);
    MOESIM_ASSIGN(const JsonReader tpe, record.required("tpe"));
    MOESIM_ASSIGN(const std::vector<JsonReader> micro_batches, tpe.elements());
    if (micro_batches.size() > kMostAtOnce) return tpe.error("too many micro-batches");
    for (const JsonReader& micro_batch : micro_batches) {
      MOESIM_ASSIGN(const std::vector<JsonReader> cells, micro_batch.elements());
      std::vector<std::uint32_t> counts;
      for (const JsonReader& cell : cells) {
        MOESIM_ASSIGN(const double count, cell.as_double(0, UINT32_MAX));
        if (count != static_cast<double>(static_cast<std::uint32_t>(count)))
          return cell.error("a count is not a whole number");
        counts.push_back(static_cast<std::uint32_t>(count));
      }
      bytes_ += counts.size() * sizeof(std::uint32_t) + sizeof(RowKey);
      if (bytes_ > job_.options.memory_limit_bytes)
        return invalid_input(fmt::format("recording needs more than {} MiB", job_.options.memory_limit_bytes >> 20),
                             place, "give fewer iterations");
      if (!received_[key].emplace(rank, std::move(counts)).second)
        return invalid_input(
            fmt::format("iteration {}, layer {} of rank {} appears twice", key.iteration, key.layer, rank), place,
            "pipeline stages that count layers from 0 each? renumber them");
      ++key.micro_batch;
    }
    return {};
  }

  // Ranks in order hold expert blocks 0, 1, ..., EP-1, again and again; equal blocks are summed (expert data parallel).
  Status assemble(const RowKey& key, const ByRank& by_rank, std::vector<std::uint32_t>& counts) const {
    const std::size_t ep =
        job_.options.expert_parallel > 0 ? static_cast<std::size_t>(job_.options.expert_parallel) : by_rank.size();
    const std::size_t local = by_rank.begin()->second.size();
    const std::string place = fmt::format("{}: iteration {}, layer {}", job_.probe.path, key.iteration, key.layer);
    if (by_rank.size() % ep != 0)
      return invalid_input(fmt::format("{} ranks recorded this layer, not a multiple of EP {}: copies of some experts "
                                       "are missing",
                                       by_rank.size(), ep),
                           place, "collect the files of all ranks");
    counts.assign(ep * local, 0);
    std::size_t index = 0;
    for (const auto& [rank, received] : by_rank) {
      if (received.size() != local)
        return invalid_input(fmt::format("rank {} has {} local experts, rank {} has {}", rank, received.size(),
                                         by_rank.begin()->first, local),
                             place);
      for (std::size_t e = 0; e < local; ++e) counts[index % ep * local + e] += received[e];
      ++index;
    }
    return {};
  }

  ImportJob& job_;
  std::map<RowKey, ByRank> received_;
  std::uint64_t bytes_ = 0;
};

Status read_recording(ImportJob& job) {
  job.info.source_symmetric = true;
  if (job.info.phase == TracePhase::kUnknown) job.info.phase = TracePhase::kTraining;
  if (job.info.drops == TraceDrops::kUnknown) job.info.drops = TraceDrops::kAfter;
  job.findings.add(Severity::kNotice, "received-side",
                   "tokens are counted where they arrived, after drops: source ranks are unknown, layer numbers are "
                   "taken as global, and ranks that share a layer as consecutive expert-parallel ranks",
                   job.probe.path);
  MegatronReader reader(job);
  if (job.probe.is_folder) {
    for (const std::string& file : job.probe.files) {
      std::int32_t rank = 0;
      if (!parse_stats_name(file, rank)) continue;
      MOESIM_ASSIGN(InputStream stream, InputStream::open(job.probe.path + "/" + file));
      MOESIM_TRY(reader.read_rank(stream, rank));
    }
    return reader.emit();
  }
  if (job.options.expert_parallel != 1)
    return invalid_input("one rank's file holds only its own experts", job.probe.path,
                         "give the folder with the files of all ranks (or say that EP is 1)");
  MOESIM_TRY(reader.read_rank(*job.stream, 0));
  return reader.emit();
}

bool recognises_recording(const InputProbe& probe) {
  std::int32_t rank = 0;
  if (probe.is_folder)
    return std::any_of(probe.files.begin(), probe.files.end(),
                       [&](const std::string& file) { return parse_stats_name(file, rank); });
  return probe.first_line().starts_with('{') && probe.first_line().find("\"tpe\"") != std::string_view::npos;
}

}  // namespace

const TraceFormat kMegatronJsonl = {"megatron-jsonl",
                                    "Megatron-LM tokens_per_expert: a folder of rank<R>.jsonl (received side)",
                                    recognises_recording, read_recording};

}  // namespace moesim
