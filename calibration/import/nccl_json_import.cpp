// What nccl-tests write with -J: results with times in microseconds, devices with their ranks and hosts. Of keys that are not
// needed nothing is asked, so that later versions can be read as well.
#include <fmt/format.h>

#include "base/json_reader.hpp"
#include "base/text.hpp"
#include "calibration/import/nccl_operation.hpp"
#include "calibration/import/observations.hpp"

#include <nlohmann/json.hpp>

namespace moesim {
namespace {

constexpr std::int64_t kLargestLogged = std::int64_t{1} << 50;

Status read_devices(JsonReader& root, Observations& all, std::map<std::int64_t, std::vector<RankId>>& groups) {
  MOESIM_ASSIGN(const JsonReader devices, root.required("devices"));
  MOESIM_ASSIGN(std::vector<JsonReader> list, devices.elements());
  for (JsonReader& device : list) {
    MOESIM_ASSIGN(const std::int64_t rank, device.required_int("rank", 0, 65535));
    if (rank != std::ssize(all.hosts)) return device.error("ranks must follow each other");
    MOESIM_ASSIGN(const std::int64_t group, device.int_or("group", 0, 0, 65535));
    MOESIM_ASSIGN(std::string host, device.string_or("hostname", ""));
    all.hosts.push_back(std::move(host));
    groups[group].emplace_back(static_cast<std::int32_t>(rank));
  }
  if (all.hosts.size() < 2) return devices.error("fewer than two ranks");
  return {};
}

// Microseconds of the out-of-place run.
Result<double> read_time(JsonReader& result) {
  MOESIM_ASSIGN(JsonReader run, result.required("out_of_place"));
  if (run.has("time")) return run.required_double("time", 0, 1e12);
  return run.required_double("cpu_time", 0, 1e12);
}

}  // namespace

bool is_nccl_json(std::string_view text) {
  return trim(text.substr(0, 64)).starts_with('{') && text.find("\"nccl_version\"") != std::string_view::npos &&
         text.find("\"results\"") != std::string_view::npos;
}

Result<Observations> read_nccl_json(std::string_view text, const std::string& name) {
  MOESIM_ASSIGN(const JsonDocument document, JsonDocument::parse_text(text, name));
  JsonReader root = document.root();
  if (!root.is_object()) return root.error("expected an object as nccl-tests write it with -J");
  Observations all;
  std::map<std::int64_t, std::vector<RankId>> by_group;
  MOESIM_TRY(read_devices(root, all, by_group));
  std::vector<std::vector<RankId>> groups;
  for (const auto& [group, members] : by_group) groups.push_back(members);

  std::optional<NcclOperation> operation;
  for (const char* key : {"args", "config"})
    if (const std::optional<JsonReader> part = root.optional(key); part && !operation)
      operation = nccl_operation(part->value().dump());
  if (!operation) operation = nccl_operation(name.substr(name.rfind('/') + 1));
  if (!operation)
    return root.error("the file does not say which collective was measured",
                      "put it into the file's name, for instance all_reduce.json");

  MOESIM_ASSIGN(const JsonReader results, root.required("results"));
  MOESIM_ASSIGN(std::vector<JsonReader> list, results.elements());
  for (JsonReader& result : list) {
    MOESIM_ASSIGN(const std::int64_t size, result.required_int("size", 0, kLargestLogged));
    MOESIM_ASSIGN(const double time, read_time(result));
    if (size == 0 || time == 0) {
      ++all.left_out["of size or time 0"];
      continue;
    }
    const CollectiveWork work{operation->kind, operation->algorithm, groups, Bytes(size)};
    all.rows.push_back({.work = work,
                        .seconds = time * 1e-6,
                        .name = fmt::format("{} {}, {} ranks", collective_name(work.kind), humanize(work.size),
                                            groups.front().size())});
  }
  if (all.rows.empty()) return results.error("no results");
  MOESIM_ASSIGN(const std::string start, root.string_or("start_time", ""));
  all.date = start.substr(0, 10);
  all.source = fmt::format("nccl-tests, {} ranks", all.hosts.size());
  return all;
}

}  // namespace moesim
