// TensorRT-LLM EXPERT_STATISTIC_PATH: a folder with meta_info.json {"num_experts","num_experts_per_token"} and one
// rank{R}.safetensors per source rank, whose tensors "{iter}_{layer}" hold the counts of the logical experts.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/json_reader.hpp"
#include "traces/formats/formats.hpp"
#include "traces/input/number_parser.hpp"
#include "traces/input/safetensors.hpp"

namespace moesim {
namespace {

bool parse_rank_name(std::string_view file, std::int32_t& rank) {
  constexpr std::string_view kPrefix = "rank";
  constexpr std::string_view kSuffix = ".safetensors";
  return file.starts_with(kPrefix) && file.ends_with(kSuffix) &&
         parse_integer<std::int32_t>(file.substr(kPrefix.size(), file.size() - kPrefix.size() - kSuffix.size()), 0,
                                     16'000'000, rank);
}

Status read_meta(ImportJob& job) {
  MOESIM_ASSIGN(const JsonDocument document, JsonDocument::parse_file(job.probe.path + "/meta_info.json"));
  JsonReader root = document.root();
  MOESIM_ASSIGN(const std::int64_t experts, root.required_int("num_experts", 2, 65536));
  MOESIM_ASSIGN(const std::int64_t top_k, root.required_int("num_experts_per_token", 1, 65536));
  if (job.info.model_experts == 0) job.info.model_experts = experts;
  if (job.info.top_k == 0) job.info.top_k = top_k;
  return {};
}

Status read_rank(ImportJob& job, const std::string& path, std::string_view content, std::int32_t rank) {
  MOESIM_ASSIGN(const std::vector<ArrayView> arrays, parse_safetensors(content, path));
  if (arrays.empty()) return invalid_input("file holds no tensors", path, "was an iteration range recorded?");
  std::map<RowKey, const ArrayView*> rows;
  for (const ArrayView& array : arrays) {
    RowKey key{0, 0, 0, rank};
    const std::string_view name = array.name;
    const std::size_t gap = name.find('_');
    if (gap == std::string_view::npos ||
        !parse_integer<std::int64_t>(name.substr(0, gap), 0, INT64_MAX, key.iteration) ||
        !parse_integer<std::int32_t>(name.substr(gap + 1), 0, 65534, key.layer))
      return invalid_input(fmt::format("tensor '{}' is not named <iter>_<layer>", array.name.substr(0, 40)), path);
    if (array.shape.size() != 1)
      return invalid_input(
          fmt::format("tensor '{}' has {} dimensions, expected [num_experts]", array.name, array.shape.size()), path);
    rows[key] = &array;
  }
  std::vector<std::uint32_t> counts;
  for (const auto& [key, array] : rows) {
    counts.resize(static_cast<std::size_t>(array->shape[0]));
    if (const Status read = array->read_counts(0, counts); !read) return invalid_input(read.error().what, path);
    MOESIM_TRY(job.sink.counts({key, counts, {path, 0}}));
  }
  return {};
}

Status read_statistics(ImportJob& job) {
  if (job.info.phase == TracePhase::kUnknown) job.info.phase = TracePhase::kInference;
  std::int32_t rank = 0;
  if (!job.probe.is_folder) {
    if (!parse_rank_name(std::string_view(job.probe.path).substr(job.probe.path.find_last_of('/') + 1), rank)) rank = 0;
    MOESIM_ASSIGN(const std::string content, job.stream->read_all(job.options.memory_limit_bytes));
    return read_rank(job, job.probe.path, content, rank);
  }
  MOESIM_TRY(read_meta(job));
  for (const std::string& file : job.probe.files) {
    if (!parse_rank_name(file, rank)) continue;
    const std::string path = job.probe.path + "/" + file;
    MOESIM_ASSIGN(InputStream stream, InputStream::open(path));
    MOESIM_ASSIGN(const std::string content, stream.read_all(job.options.memory_limit_bytes));
    MOESIM_TRY(read_rank(job, path, content, rank));
  }
  return {};
}

bool recognises_statistics(const InputProbe& probe) {
  std::int32_t rank = 0;
  if (probe.is_folder)
    return std::any_of(probe.files.begin(), probe.files.end(),
                       [&](const std::string& file) { return parse_rank_name(file, rank); });
  // A header length of less than 2^40, then the header's brace.
  return probe.head.size() > 8 && probe.head[8] == '{' && probe.head.substr(5, 3) == std::string(3, '\0');
}

}  // namespace

const TraceFormat kTensorRtLlm = {"tensorrt-llm",
                                  "TensorRT-LLM expert statistics: a folder of meta_info.json and rank<R>.safetensors",
                                  recognises_statistics, read_statistics};

}  // namespace moesim
