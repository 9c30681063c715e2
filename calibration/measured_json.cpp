#include "calibration/measured_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "calibration/json_words.hpp"

namespace moesim {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kGreatest = 1e15;  // elements, bytes
constexpr double kLongestTime = 1e6;
constexpr double kShortestTime = 1e-12;

// A row of so many numbers, each within its bounds.
struct Bounds {
  double smallest;
  double largest;
};
Result<std::vector<double>> read_row(const JsonReader& row, const std::vector<Bounds>& bounds) {
  MOESIM_ASSIGN(const std::vector<JsonReader> numbers, row.elements());
  if (numbers.size() != bounds.size())
    return row.error(fmt::format("{} numbers; there should be {}", numbers.size(), bounds.size()));
  std::vector<double> values;
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    MOESIM_ASSIGN(const double value, numbers[i].as_double(bounds[i].smallest, bounds[i].largest));
    values.push_back(value);
  }
  return values;
}

Status read_gemm(JsonReader& section, std::vector<GemmPoint>& points) {
  std::optional<JsonReader> formats = section.optional("points");
  if (!formats) return {};
  if (!formats->is_object()) return formats->error("expected an object of lists by number format");
  for (const std::string& name : formats->keys()) {
    MOESIM_ASSIGN(const JsonReader rows, formats->required(name));
    const Result<DType> type = parse_dtype(name);
    if (!type) return invalid_input(type.error().what, rows.place(), type.error().hint);
    MOESIM_ASSIGN(const std::vector<JsonReader> list, rows.elements());
    for (const JsonReader& row : list) {
      MOESIM_ASSIGN(const std::vector<double> v,
                    read_row(row, {{1, kGreatest}, {1, kGreatest}, {1, kGreatest}, {kShortestTime, kLongestTime}}));
      points.push_back({*type, v[0], v[1], v[2], v[3]});
    }
  }
  return {};
}

Status read_attention(JsonReader& section, std::vector<AttentionPoint>& points) {
  for (const bool backward : {false, true}) {
    std::optional<JsonReader> formats = section.optional(backward ? "backward" : "forward");
    if (!formats) continue;
    if (!formats->is_object()) return formats->error("expected an object of lists by number format");
    for (const std::string& name : formats->keys()) {
      MOESIM_ASSIGN(const JsonReader rows, formats->required(name));
      const Result<DType> type = parse_dtype(name);
      if (!type) return invalid_input(type.error().what, rows.place(), type.error().hint);
      MOESIM_ASSIGN(const std::vector<JsonReader> list, rows.elements());
      for (const JsonReader& row : list) {
        constexpr Bounds kSize{1, kGreatest};
        MOESIM_ASSIGN(const std::vector<double> v,
                      read_row(row, {kSize, kSize, kSize, kSize, kSize, kSize, kSize, {kShortestTime, kLongestTime}}));
        if (std::any_of(v.begin(), v.end() - 1, [](double size) { return size != std::floor(size); }))
          return row.error("sizes must be whole numbers");
        const auto size = [&v](std::size_t i) { return static_cast<std::int64_t>(v[i]); };
        points.push_back({{.sequences = size(0),
                           .query_length = size(1),
                           .key_length = size(2),
                           .heads = size(3),
                           .kv_heads = size(4),
                           .qk_dim = size(5),
                           .v_dim = size(6),
                           .backward = backward,
                           .type = *type},
                          v[7]});
      }
    }
  }
  return {};
}

Status read_curve(JsonReader& entry, PiecewiseTime& time, std::vector<TimePoint>& points) {
  MOESIM_ASSIGN(const JsonReader pieces, entry.required("pieces"));
  MOESIM_ASSIGN(const std::vector<JsonReader> rows, pieces.elements());
  for (const JsonReader& row : rows) {
    MOESIM_ASSIGN(const std::vector<double> v,
                  read_row(row, {{0, kGreatest}, {-kLongestTime, kLongestTime}, {0, kLongestTime}}));
    if (v[1] + v[0] * v[2] < 0) return row.error("a piece that begins with a time below 0");
    if (!time.pieces.empty() && v[0] <= time.pieces.back().from_bytes)
      return row.error("a piece must begin behind the one before it");
    time.pieces.push_back({v[0], v[1], v[2]});
  }
  if (time.pieces.empty()) return pieces.error("a curve without pieces");
  MOESIM_ASSIGN(const JsonReader measured, entry.required("measured"));
  MOESIM_ASSIGN(const std::vector<JsonReader> list, measured.elements());
  for (const JsonReader& row : list) {
    MOESIM_ASSIGN(const std::vector<double> v, read_row(row, {{0, kGreatest}, {kShortestTime, kLongestTime}}));
    if (!points.empty() && v[0] < points.back().bytes) return row.error("sizes must not fall");
    points.push_back({v[0], v[1]});
  }
  if (points.empty()) return measured.error("a curve that nothing was measured for");
  time.smallest_bytes = points.front().bytes;
  time.largest_bytes = points.back().bytes;
  return entry.reject_unknown_keys();
}

Result<std::vector<JsonReader>> series_of(JsonReader& section) {
  std::optional<JsonReader> series = section.optional("series");
  if (!series) return std::vector<JsonReader>{};
  return series->elements();
}

Status read_memory(JsonReader& section, std::vector<MemorySeries>& all) {
  MOESIM_ASSIGN(std::vector<JsonReader> list, series_of(section));
  for (JsonReader& entry : list) {
    MemorySeries& series = all.emplace_back();
    MOESIM_ASSIGN(series.kernel, read_name(entry, "kernel", kMemoryKernels, memory_kernel_name));
    MOESIM_ASSIGN(series.type, read_type(entry, "type"));
    MOESIM_TRY(read_curve(entry, series.time, series.points));
  }
  return {};
}

Status read_collectives(JsonReader& section, std::vector<CollectiveSeries>& all) {
  MOESIM_ASSIGN(std::vector<JsonReader> list, series_of(section));
  const auto count = [](JsonReader& entry, std::string_view key, int& target) -> Status {
    MOESIM_ASSIGN(const std::int64_t value, entry.required_int(key, 1, 10'000'000));
    target = static_cast<int>(value);
    return {};
  };
  for (JsonReader& entry : list) {
    CollectiveSeries& series = all.emplace_back();
    MOESIM_ASSIGN(series.kind, read_name(entry, "operation", kCollectiveKinds, collective_name));
    MOESIM_ASSIGN(series.algorithm, read_name(entry, "algorithm", kCollectiveAlgorithms, algorithm_name));
    MOESIM_ASSIGN(series.exchange, read_exchange(entry, series.kind));
    MOESIM_TRY(count(entry, "ranks", series.shape.ranks));
    MOESIM_TRY(count(entry, "nodes", series.shape.nodes));
    MOESIM_TRY(count(entry, "ranks_per_node", series.shape.ranks_per_node));
    MOESIM_TRY(count(entry, "port_sharers", series.shape.port_sharers));
    MOESIM_TRY(read_curve(entry, series.time, series.points));
  }
  return {};
}

void write_curve(Json& entry, const PiecewiseTime& time, const std::vector<TimePoint>& points) {
  entry["pieces"] = Json::array();
  for (const TimePiece& piece : time.pieces)
    entry["pieces"].push_back(Json::array({piece.from_bytes, piece.alpha_s, piece.s_per_byte}));
  entry["measured"] = Json::array();
  for (const TimePoint& point : points) entry["measured"].push_back(Json::array({point.bytes, point.seconds}));
}

}  // namespace

Status read_measured(JsonReader& section, std::string_view name, MeasuredLaws& measured) {
  if (name == "gemm") return read_gemm(section, measured.gemm);
  if (name == "attention") return read_attention(section, measured.attention);
  if (name == "memory") return read_memory(section, measured.memory);
  if (name == "collectives") return read_collectives(section, measured.collectives);
  return {};
}

void write_measured(Json& section, std::string_view name, const MeasuredLaws& measured) {
  if (name == "gemm")
    for (const GemmPoint& point : measured.gemm)
      section["points"][std::string(dtype_name(point.type))].push_back(
          Json::array({point.m, point.n, point.k, point.seconds}));
  if (name == "attention")
    for (const auto& [work, seconds] : measured.attention)
      section[work.backward ? "backward" : "forward"][std::string(dtype_name(work.type))].push_back(
          Json::array({work.sequences, work.query_length, work.key_length, work.heads, work.kv_heads, work.qk_dim,
                       work.v_dim, seconds}));
  if (name == "memory")
    for (const MemorySeries& series : measured.memory) {
      Json entry;
      entry["kernel"] = memory_kernel_name(series.kernel);
      entry["type"] = dtype_name(series.type);
      write_curve(entry, series.time, series.points);
      section["series"].push_back(std::move(entry));
    }
  if (name == "collectives")
    for (const CollectiveSeries& series : measured.collectives) {
      Json entry;
      entry["operation"] = collective_name(series.kind);
      entry["algorithm"] = algorithm_name(series.algorithm);
      if (series.exchange != ExchangeAlgorithm::kLinear) entry["exchange"] = exchange_algorithm_name(series.exchange);
      entry["ranks"] = series.shape.ranks;
      entry["nodes"] = series.shape.nodes;
      entry["ranks_per_node"] = series.shape.ranks_per_node;
      entry["port_sharers"] = series.shape.port_sharers;
      write_curve(entry, series.time, series.points);
      section["series"].push_back(std::move(entry));
    }
}

std::string with_short_arrays(std::string_view json) {
  std::string text;
  std::size_t open = std::string::npos;  // in `text`, of an array that holds only numbers so far
  bool in_string = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      in_string = c != '"';
      if (c == '\\' && i + 1 < json.size()) text += json[i++];
      text += json[i];
      continue;
    }
    text += c;
    if (c == '"') in_string = true;
    if (c == '"' || c == '{') open = std::string::npos;
    if (c == '[') open = text.size() - 1;
    if (c != ']' || open == std::string::npos) continue;
    std::string row = "[";
    for (const char part : std::string_view(text).substr(open + 1))
      if (part != '\n' && part != ' ') row += part == ',' ? std::string(", ") : std::string(1, part);
    text.replace(open, std::string::npos, row);
    open = std::string::npos;
  }
  return text;
}

}  // namespace moesim
