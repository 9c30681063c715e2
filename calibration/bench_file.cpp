#include "calibration/bench_file.hpp"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/json_reader.hpp"
#include "calibration/json_words.hpp"
#include "calibration/quantile.hpp"

namespace moesim {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kLongest = 1'000'000'000'000;  // elements or bytes of anything
constexpr std::int64_t kMostRanks = 65536;

constexpr std::array<std::pair<SamplesEnd, std::string_view>, 4> kEnds = {{{SamplesEnd::kSteady, "steady"},
                                                                           {SamplesEnd::kBudget, "budget"},
                                                                           {SamplesEnd::kMost, "most"},
                                                                           {SamplesEnd::kStopped, "stopped"}}};

// --- writing

// More than any clock gives; ranks agree on samples in FP32.
double six_digits(double seconds) { return std::stod(fmt::format("{:.6g}", seconds)); }

struct WorkWriter {
  Json& entry;

  void operator()(const GemmWork& work) const {
    entry["kind"] = "gemm";
    write_gemm(entry, work);
  }
  void operator()(const GroupedRows& work) const {
    entry["kind"] = "grouped_gemm";
    entry["rows"] = work.rows;
    entry["n"] = work.n;
    entry["k"] = work.k;
    entry["type"] = dtype_name(work.type);
    entry["output"] = dtype_name(work.output);
    entry["reduce_rows"] = work.reduce_rows;
  }
  void operator()(const AttentionWork& work) const {
    entry["kind"] = "attention";
    entry["sequences"] = work.sequences;
    entry["query_length"] = work.query_length;
    entry["key_length"] = work.key_length;
    entry["heads"] = work.heads;
    entry["kv_heads"] = work.kv_heads;
    entry["qk_dim"] = work.qk_dim;
    entry["v_dim"] = work.v_dim;
    entry["window"] = work.window;
    entry["causal"] = work.causal;
    entry["backward"] = work.backward;
    entry["type"] = dtype_name(work.type);
  }
  void operator()(const MemoryWork& work) const {
    entry["kind"] = "memory";
    entry["kernel"] = memory_kernel_name(work.kernel);
    entry["type"] = dtype_name(work.type);
    entry["read_bytes"] = work.read.count();
    entry["written_bytes"] = work.written.count();
    entry["kernels"] = work.kernels;
    entry["row_bytes"] = work.row_bytes;
  }
  void operator()(const LaunchWork&) const { entry["kind"] = "launch"; }
  void operator()(const OperationWork&) const { entry["kind"] = "operation"; }
  void operator()(const CollectiveWork& work) const {
    entry["kind"] = "collective";
    write_collective(entry, work);
  }
  void operator()(const OverlapWork& work) const {
    entry["kind"] = "overlap";
    entry["measured"] = work.measured == OverlapMeasured::kCompute ? "compute" : "communication";
    if (work.compute) {
      entry["compute"] = Json::object();
      write_gemm(entry["compute"], *work.compute);
    }
    entry["compute_repeats"] = work.compute_repeats;
    entry["collective_rounds"] = work.collective_rounds;
    entry["collectives"] = Json::array();
    for (const CollectiveWork& collective : work.collectives) {
      Json one = Json::object();
      write_collective(one, collective);
      entry["collectives"].push_back(std::move(one));
    }
  }

  static void write_gemm(Json& to, const GemmWork& work) {
    to["m"] = work.m;
    to["n"] = work.n;
    to["k"] = work.k;
    to["batch"] = work.batch;
    to["type"] = dtype_name(work.type);
    to["output"] = dtype_name(work.output);
  }
  static void write_collective(Json& to, const CollectiveWork& work) {
    to["operation"] = collective_name(work.kind);
    to["algorithm"] = algorithm_name(work.algorithm);
    if (work.exchange != ExchangeAlgorithm::kLinear) to["exchange"] = exchange_algorithm_name(work.exchange);
    to["size_bytes"] = work.size.count();
    to["groups"] = Json::array();
    for (const std::vector<RankId>& group : work.groups) {
      Json ranks = Json::array();
      for (const RankId rank : group) ranks.push_back(rank.value());
      to["groups"].push_back(std::move(ranks));
    }
  }
};

// --- reading

Result<std::int64_t> read_size(JsonReader& reader, std::string_view key) {
  return reader.required_int(key, 0, kLongest);
}

Result<GemmWork> read_gemm(JsonReader& reader) {
  GemmWork work;
  MOESIM_ASSIGN(work.m, read_size(reader, "m"));
  MOESIM_ASSIGN(work.n, read_size(reader, "n"));
  MOESIM_ASSIGN(work.k, read_size(reader, "k"));
  MOESIM_ASSIGN(work.batch, reader.int_or("batch", 1, 1, kLongest));
  MOESIM_ASSIGN(work.type, read_type(reader, "type"));
  MOESIM_ASSIGN(work.output, read_type(reader, "output"));
  return work;
}

Result<GroupedRows> read_grouped(JsonReader& reader) {
  GroupedRows work;
  MOESIM_ASSIGN(const JsonReader rows, reader.required("rows"));
  MOESIM_ASSIGN(const std::vector<JsonReader> elements, rows.elements());
  for (const JsonReader& element : elements) {
    MOESIM_ASSIGN(const std::int64_t count, element.as_int(0, kLongest));
    work.rows.push_back(count);
  }
  MOESIM_ASSIGN(work.n, read_size(reader, "n"));
  MOESIM_ASSIGN(work.k, read_size(reader, "k"));
  MOESIM_ASSIGN(work.type, read_type(reader, "type"));
  MOESIM_ASSIGN(work.output, read_type(reader, "output"));
  MOESIM_ASSIGN(work.reduce_rows, reader.bool_or("reduce_rows", false));
  return work;
}

Result<AttentionWork> read_attention(JsonReader& reader) {
  AttentionWork work;
  MOESIM_ASSIGN(work.sequences, read_size(reader, "sequences"));
  MOESIM_ASSIGN(work.query_length, read_size(reader, "query_length"));
  MOESIM_ASSIGN(work.key_length, read_size(reader, "key_length"));
  MOESIM_ASSIGN(work.heads, read_size(reader, "heads"));
  MOESIM_ASSIGN(work.kv_heads, read_size(reader, "kv_heads"));
  MOESIM_ASSIGN(work.qk_dim, read_size(reader, "qk_dim"));
  MOESIM_ASSIGN(work.v_dim, read_size(reader, "v_dim"));
  MOESIM_ASSIGN(work.window, reader.int_or("window", 0, 0, kLongest));
  MOESIM_ASSIGN(work.causal, reader.bool_or("causal", true));
  MOESIM_ASSIGN(work.backward, reader.bool_or("backward", false));
  MOESIM_ASSIGN(work.type, read_type(reader, "type"));
  return work;
}

Result<MemoryWork> read_memory(JsonReader& reader) {
  MemoryWork work;
  MOESIM_ASSIGN(work.kernel, read_name(reader, "kernel", kMemoryKernels, memory_kernel_name));
  MOESIM_ASSIGN(work.type, read_type(reader, "type"));
  MOESIM_ASSIGN(const std::int64_t read, read_size(reader, "read_bytes"));
  MOESIM_ASSIGN(const std::int64_t written, read_size(reader, "written_bytes"));
  work.read = Bytes(read);
  work.written = Bytes(written);
  MOESIM_ASSIGN(const std::int64_t kernels, reader.int_or("kernels", 1, 1, 1000));
  work.kernels = static_cast<int>(kernels);
  MOESIM_ASSIGN(work.row_bytes, reader.int_or("row_bytes", 0, 0, kLongest));
  return work;
}

Result<CollectiveWork> read_collective(JsonReader& reader, std::size_t ranks) {
  CollectiveWork work;
  MOESIM_ASSIGN(work.kind, read_name(reader, "operation", kCollectiveKinds, collective_name));
  MOESIM_ASSIGN(work.algorithm, read_name(reader, "algorithm", kCollectiveAlgorithms, algorithm_name));
  MOESIM_ASSIGN(work.exchange, read_exchange(reader, work.kind));
  MOESIM_ASSIGN(const std::int64_t size, read_size(reader, "size_bytes"));
  work.size = Bytes(size);
  MOESIM_ASSIGN(const JsonReader groups, reader.required("groups"));
  MOESIM_ASSIGN(const std::vector<JsonReader> lists, groups.elements());
  std::vector<bool> seen(ranks, false);
  for (const JsonReader& list : lists) {
    MOESIM_ASSIGN(const std::vector<JsonReader> members, list.elements());
    if (members.empty()) return list.error("a group without ranks");
    std::vector<RankId>& group = work.groups.emplace_back();
    for (const JsonReader& member : members) {
      MOESIM_ASSIGN(const std::int64_t rank, member.as_int(0, static_cast<std::int64_t>(ranks) - 1));
      if (seen[static_cast<std::size_t>(rank)]) return member.error("the rank is in a group already");
      seen[static_cast<std::size_t>(rank)] = true;
      group.emplace_back(static_cast<std::int32_t>(rank));
    }
  }
  if (work.groups.empty()) return groups.error("no group took part");
  return work;
}

Result<OverlapWork> read_overlap(JsonReader& reader, std::size_t ranks) {
  OverlapWork work;
  MOESIM_ASSIGN(const std::string measured, reader.required_string("measured"));
  if (measured != "compute" && measured != "communication")
    return reader.error(fmt::format("measured: '{}' is neither compute nor communication", measured));
  work.measured = measured == "compute" ? OverlapMeasured::kCompute : OverlapMeasured::kCommunication;
  if (std::optional<JsonReader> compute = reader.optional("compute")) {
    MOESIM_ASSIGN(work.compute, read_gemm(*compute));
    MOESIM_TRY(compute->reject_unknown_keys());
  }
  MOESIM_ASSIGN(const std::int64_t repeats, reader.int_or("compute_repeats", 1, 1, 1'000'000));
  work.compute_repeats = static_cast<int>(repeats);
  MOESIM_ASSIGN(const std::int64_t rounds, reader.int_or("collective_rounds", 0, 0, 1'000'000));
  work.collective_rounds = static_cast<int>(rounds);
  MOESIM_ASSIGN(const JsonReader collectives, reader.required("collectives"));
  MOESIM_ASSIGN(std::vector<JsonReader> list, collectives.elements());
  for (JsonReader& one : list) {
    MOESIM_ASSIGN(CollectiveWork collective, read_collective(one, ranks));
    MOESIM_TRY(one.reject_unknown_keys());
    work.collectives.push_back(std::move(collective));
  }
  return work;
}

template <class Work>
Result<BenchWork> as_work(Result<Work> work) {
  if (!work) return tl::unexpected<Error>(std::move(work).error());
  return BenchWork(std::move(*work));
}

Result<BenchWork> read_work(JsonReader& reader, std::size_t ranks) {
  MOESIM_ASSIGN(const std::string kind, reader.required_string("kind"));
  if (kind == "gemm") return as_work(read_gemm(reader));
  if (kind == "grouped_gemm") return as_work(read_grouped(reader));
  if (kind == "attention") return as_work(read_attention(reader));
  if (kind == "memory") return as_work(read_memory(reader));
  if (kind == "launch") return BenchWork(LaunchWork{});
  if (kind == "operation") return BenchWork(OperationWork{});
  if (kind == "collective") return as_work(read_collective(reader, ranks));
  if (kind == "overlap") return as_work(read_overlap(reader, ranks));
  return reader.error(fmt::format("kind: '{}' is no kind of measurement", kind),
                      "known are gemm, grouped_gemm, attention, memory, launch, operation, collective and overlap");
}

Result<BenchCase> read_case(JsonReader& reader, std::size_t ranks) {
  BenchCase one;
  MOESIM_ASSIGN(one.name, reader.required_string("name"));
  MOESIM_ASSIGN(one.work, read_work(reader, ranks));
  MOESIM_ASSIGN(const std::int64_t operations, reader.int_or("operations", 1, 1, 1'000'000'000));
  one.operations = static_cast<int>(operations);
  MOESIM_ASSIGN(const std::string end, reader.string_or("end", "steady"));
  for (const auto& [known, name] : kEnds)
    if (end == name) one.end = known;
  MOESIM_ASSIGN(const JsonReader seconds, reader.required("seconds"));
  MOESIM_ASSIGN(const std::vector<JsonReader> samples, seconds.elements());
  for (const JsonReader& sample : samples) {
    MOESIM_ASSIGN(const double value, sample.as_double(1e-12, 1e6));
    one.seconds.push_back(value);
  }
  if (one.seconds.empty()) return seconds.error("a case without samples");
  MOESIM_TRY(reader.reject_unknown_keys());
  return one;
}

Result<BenchFile> read_file(JsonReader root) {
  if (!root.is_object()) return root.error("expected a file of moeexec bench", "an object with 'schema' and 'cases'");
  MOESIM_ASSIGN(const std::string schema, root.required_string("schema"));
  if (schema != kBenchSchema)
    return root.error(fmt::format("schema '{}' is not {}", schema, kBenchSchema), "measure again with moeexec bench");
  BenchFile file;
  MOESIM_ASSIGN(file.program, root.string_or("program", ""));
  MOESIM_ASSIGN(file.date, root.string_or("date", ""));
  MOESIM_ASSIGN(file.command, root.string_or("command", ""));
  MOESIM_ASSIGN(file.hardware, root.string_or("hardware", ""));
  MOESIM_ASSIGN(file.backend, root.string_or("backend", ""));
  MOESIM_ASSIGN(file.budget_s, root.double_or("budget_s", 0, 0, 1e9));
  MOESIM_ASSIGN(const JsonReader hosts, root.required("hosts"));
  MOESIM_ASSIGN(const std::vector<JsonReader> names, hosts.elements());
  if (names.empty() || std::ssize(names) > kMostRanks)
    return hosts.error(fmt::format("{} ranks; there is one at least and {} at most", names.size(), kMostRanks));
  for (const JsonReader& name : names) {
    MOESIM_ASSIGN(std::string host, name.as_string());
    file.hosts.push_back(std::move(host));
  }
  MOESIM_ASSIGN(const JsonReader cases, root.required("cases"));
  MOESIM_ASSIGN(std::vector<JsonReader> list, cases.elements());
  for (JsonReader& entry : list) {
    MOESIM_ASSIGN(BenchCase one, read_case(entry, file.hosts.size()));
    file.cases.push_back(std::move(one));
  }
  MOESIM_TRY(root.reject_unknown_keys());
  return file;
}

}  // namespace

std::string bench_json(const BenchFile& file) {
  Json root;
  root["schema"] = kBenchSchema;
  root["program"] = file.program;
  root["date"] = file.date;
  root["command"] = file.command;
  root["hardware"] = file.hardware;
  root["backend"] = file.backend;
  root["budget_s"] = file.budget_s;
  root["hosts"] = file.hosts;
  // One line for each case: a file of some hundred cases can be read, compared and searched.
  std::string text = root.dump(1);
  text.resize(text.size() - 2);  // the closing brace and the line break before it
  text += ",\n \"cases\": [";
  for (const BenchCase& one : file.cases) {
    Json entry;
    entry["name"] = one.name;
    std::visit(WorkWriter{entry}, one.work);
    entry["operations"] = one.operations;
    entry["end"] = kEnds[static_cast<std::size_t>(one.end)].second;
    for (const double sample : one.seconds) entry["seconds"].push_back(six_digits(sample));
    text += (&one == &file.cases.front() ? "\n  " : ",\n  ") + entry.dump();
  }
  return text + "\n ]\n}\n";
}

Result<BenchFile> parse_bench(std::string_view text, std::string name) {
  MOESIM_ASSIGN(const JsonDocument document, JsonDocument::parse_text(text, std::move(name)));
  return read_file(document.root());
}

double relative_spread(const std::vector<double>& seconds) {
  const double median = quantile(seconds, 0.5);
  return median > 0 ? (quantile(seconds, 0.75) - quantile(seconds, 0.25)) / median : 0;
}

}  // namespace moesim
