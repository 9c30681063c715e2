// Arrays that users export from SGLang's and vLLM's recorders, as .npy or .npz:
//   counts  [buffer, layers, experts] or [layers, experts]     logical_count, expert_load_window, ...; summed over ranks
//   ids     [tokens, layers, k]                                routed_experts; -1 is padding
// Ids are told from counts by the name (routed, topk, ids) or, for a nameless .npy of three dimensions, by a type of 8 or
// 16 bits. Counts of physical experts need physical_to_logical_map [layers, physical] in the same .npz.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/text.hpp"
#include "traces/formats/formats.hpp"
#include "traces/input/numpy.hpp"

namespace moesim {
namespace {

constexpr std::string_view kMap = "physical_to_logical_map";

bool named_like_ids(const std::string& name) {
  const std::string lower = to_lower(name);
  return lower.find("routed") != std::string::npos || lower.find("topk") != std::string::npos || lower.ends_with("ids");
}

bool is_physical(const std::string& name) { return to_lower(name).find("physical") != std::string::npos; }

std::string shape_text(const ArrayView& array) { return fmt::format("[{}]", fmt::join(array.shape, ", ")); }

Status read_ids(ImportJob& job, const ArrayView& array) {
  if (array.shape.size() != 3)
    return invalid_input(
        fmt::format("ids '{}' have shape {}, expected [tokens, layers, k]", array.name, shape_text(array)),
        job.probe.path);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(array.shape[2]));
  if (ids.empty() || array.shape[1] > 65534)
    return invalid_input(fmt::format("ids '{}' have shape {}", array.name, shape_text(array)), job.probe.path);
  job.findings.add(Severity::kInfo, "no-source-rank", "tokens carry no source rank: taken as summed over ranks",
                   job.probe.path);
  std::uint64_t at = 0;
  for (std::uint64_t token = 0; token < array.shape[0]; ++token)
    for (std::uint64_t layer = 0; layer < array.shape[1]; ++layer, at += ids.size()) {
      if (const Status read = array.read_ids(at, ids); !read) return invalid_input(read.error().what, job.probe.path);
      const RowKey key{0, static_cast<std::int32_t>(layer), 0, kSummedOverRanks};
      MOESIM_TRY(job.sink.token({key, static_cast<std::int64_t>(token), ids, {job.probe.path, 0}}));
    }
  return {};
}

// Logical expert of every physical slot, [layer][slot], or an error; `logical` becomes their number.
Result<std::vector<std::int32_t>> read_map(const ArrayView& map, std::uint64_t layers, std::uint64_t slots,
                                           std::size_t& logical, const std::string& place) {
  if (map.shape.size() != 2 || map.shape[0] != layers || map.shape[1] != slots)
    return invalid_input(fmt::format("{} has shape {}, expected [{}, {}]", kMap, shape_text(map), layers, slots),
                         place);
  std::vector<std::int32_t> experts(static_cast<std::size_t>(layers * slots));
  if (const Status read = map.read_ids(0, experts); !read) return invalid_input(read.error().what, place);
  for (const std::int32_t e : experts) {
    if (e > 65535) return invalid_input(fmt::format("{}: expert {} is out of range", kMap, e), place);
    logical = std::max(logical, static_cast<std::size_t>(e + 1));
  }
  return experts;
}

Status read_counts(ImportJob& job, const ArrayView& array, const ArrayView* map) {
  const std::size_t n = array.shape.size();
  if (n != 2 && n != 3)
    return invalid_input(
        fmt::format("counts '{}' have shape {}, expected [steps, layers, experts] or [layers, experts]", array.name,
                    shape_text(array)),
        job.probe.path);
  const std::uint64_t steps = n == 3 ? array.shape[0] : 1;
  const std::uint64_t layers = array.shape[n - 2];
  const auto slots = static_cast<std::size_t>(array.shape[n - 1]);
  if (layers > 65534 || slots > 65536)
    return invalid_input(fmt::format("counts '{}' have shape {}", array.name, shape_text(array)), job.probe.path);
  std::size_t experts = slots;
  std::vector<std::int32_t> logical_of;
  if (is_physical(array.name)) {
    if (map != nullptr) {
      experts = 0;
      MOESIM_ASSIGN(logical_of, read_map(*map, layers, slots, experts, job.probe.path));
    } else {
      job.findings.add(Severity::kError, "physical-experts",
                       fmt::format("'{}' counts physical experts and there is no {}: copies of one expert look like "
                                   "different ones",
                                   array.name, kMap),
                       job.probe.path);
    }
  }
  std::vector<std::uint32_t> step_counts(static_cast<std::size_t>(layers) * slots);
  std::vector<std::uint32_t> row(experts);
  std::uint64_t unused = 0;
  for (std::uint64_t step = 0; step < steps; ++step) {
    if (const Status read = array.read_counts(step * step_counts.size(), step_counts); !read)
      return invalid_input(read.error().what, job.probe.path);
    if (steps > 1 && std::all_of(step_counts.begin(), step_counts.end(), [](std::uint32_t c) { return c == 0; })) {
      ++unused;
      continue;
    }
    for (std::uint64_t layer = 0; layer < layers; ++layer) {
      std::fill(row.begin(), row.end(), 0);
      for (std::size_t slot = 0; slot < slots; ++slot) {
        const std::size_t at = static_cast<std::size_t>(layer) * slots + slot;
        if (logical_of.empty())
          row[slot] = step_counts[at];
        else if (logical_of[at] >= 0)
          row[static_cast<std::size_t>(logical_of[at])] += step_counts[at];
      }
      const RowKey key{static_cast<std::int64_t>(step), static_cast<std::int32_t>(layer), 0, kSummedOverRanks};
      MOESIM_TRY(job.sink.counts({key, row, {job.probe.path, 0}}));
    }
  }
  job.findings.add(Severity::kInfo, "no-source-rank", "counts are taken as summed over source ranks", job.probe.path);
  if (unused > 0)
    job.findings.add(Severity::kInfo, "unused-buffer-rows", "steps without any selection are unused buffer rows",
                     job.probe.path, unused);
  if (steps > 1 && unused == 0)
    job.findings.add(Severity::kNotice, "ring-buffer-full",
                     "the recorder's buffer is full: if it has wrapped around, steps are not in order of time and "
                     "temporal locality means nothing",
                     job.probe.path);
  return {};
}

std::string stem_of(std::string name) {
  if (name.ends_with(".npy")) name.resize(name.size() - 4);
  return name.substr(name.find_last_of('/') + 1);
}

Status read_archive(ImportJob& job, std::string_view content) {
  MOESIM_ASSIGN(const std::vector<ZipMember> members, unzip(content, job.probe.path, job.options.memory_limit_bytes));
  std::vector<ArrayView> arrays;
  std::vector<std::string> names;
  for (const ZipMember& member : members) {
    names.push_back(stem_of(member.name));
    // Scalars and texts beside the counts (a rank, a model name) need not be readable.
    if (auto array = parse_npy(member.content, names.back(), fmt::format("{}:{}", job.probe.path, member.name)))
      arrays.push_back(std::move(*array));
    else if (named_like_ids(names.back()) || names.back().find("count") != std::string::npos)
      return tl::unexpected(array.error());
  }
  const auto named = [&](std::string_view name) -> const ArrayView* {
    const auto found = std::find_if(arrays.begin(), arrays.end(), [&](const ArrayView& a) { return a.name == name; });
    return found == arrays.end() ? nullptr : &*found;
  };
  constexpr std::array<std::string_view, 5> kCounts = {"logical_count", "expert_load_window", "expert_load_pass",
                                                       "counts", "global_physical_count"};
  for (const std::string_view name : kCounts)
    if (const ArrayView* array = named(name)) return read_counts(job, *array, named(kMap));
  std::vector<const ArrayView*> candidates;
  for (const ArrayView& array : arrays)
    if (array.name != kMap && (array.shape.size() == 2 || array.shape.size() == 3)) candidates.push_back(&array);
  if (candidates.size() != 1)
    return invalid_input(
        fmt::format("cannot tell which array holds the counts; the archive has: {}", fmt::join(names, ", ")),
        job.probe.path,
        "name it logical_count [steps, layers, experts] or routed_experts "
        "[tokens, layers, k]");
  return named_like_ids(candidates[0]->name) ? read_ids(job, *candidates[0])
                                             : read_counts(job, *candidates[0], named(kMap));
}

Status read_arrays(ImportJob& job) {
  if (job.info.phase == TracePhase::kUnknown) job.info.phase = TracePhase::kInference;
  MOESIM_ASSIGN(const std::string content, job.stream->read_all(job.options.memory_limit_bytes));
  if (!looks_like_npy(content)) return read_archive(job, content);
  MOESIM_ASSIGN(const ArrayView array, parse_npy(content, stem_of(job.probe.path), job.probe.path));
  const bool narrow = size_of(array.type) <= 2 && array.shape.size() == 3;
  return narrow || named_like_ids(array.name) ? read_ids(job, array) : read_counts(job, array, nullptr);
}

}  // namespace

const TraceFormat kNumpyArrays = {
    "numpy",
    "arrays of SGLang or vLLM recorders as .npy or .npz: counts [steps, layers, experts] or ids [tokens, layers, k]",
    [](const InputProbe& probe) { return looks_like_npy(probe.head) || looks_like_npz(probe.head); }, read_arrays};

}  // namespace moesim
