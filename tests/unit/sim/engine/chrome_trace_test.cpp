#include "sim/engine/chrome_trace.hpp"

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "base/file.hpp"
#include "program_builder.hpp"

namespace moesim {
namespace {

using nlohmann::json;
using test::ProgramBuilder;

constexpr std::uint64_t kLimit = 64U << 20;

class ChromeTraceFile : public ::testing::Test {
 protected:
  ChromeTraceFile() : builder_(2) {
    builder_.channel(0, 1);
    builder_.compute(0, {});
    for (int i = 0; i < 3; ++i) {
      const auto f = builder_.compute(0, {.duration = 1'234'567'891});
      builder_.send(0, 0, {.stream = Stream::kPpForwardSend, .duration = 1, .deps = {f}});
      const auto r = builder_.receive(1, 1, {.stream = Stream::kPpForwardReceive});
      builder_.compute(1, {.duration = 3, .deps = {r}});
    }
    result_ = replay(builder_.program, {.record_intervals = true});
    trace_.program = &builder_.program;
    trace_.result = &result_;
    trace_.entity_name = [](std::uint32_t entity) { return "stage " + std::to_string(entity); };
    trace_.label = [](std::uint32_t, std::uint32_t, std::uint32_t op) {
      return SliceLabel{.name = "gemm \"a\\b\"\n",
                        .category = "compute",
                        .group = "ep0",
                        .layer = static_cast<int>(op),
                        .bytes = 42,
                        .flop = 1.5};
    };
  }
  ~ChromeTraceFile() override { std::filesystem::remove(path_); }

  std::string write(const std::string& suffix = ".json") {
    std::filesystem::remove(path_);
    const auto* const test = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = (std::filesystem::temp_directory_path() / (std::string("moesim_trace_") + test->name() + suffix)).string();
    const Status status = write_chrome_trace(trace_, path_);
    EXPECT_TRUE(status.has_value());
    return read_file(path_, kLimit).value_or("");
  }
  json parse() { return json::parse(write()); }

  static std::vector<json> events(const json& trace, const std::string& phase) {
    std::vector<json> found;
    for (const json& event : trace.at("traceEvents")) {
      if (event.at("ph") == phase) found.push_back(event);
    }
    return found;
  }

  ProgramBuilder builder_;
  ReplayResult result_;
  ChromeTrace trace_;
  std::string path_;
};

TEST_F(ChromeTraceFile, NamesProcessesAndTheThreadsInUse) {
  std::map<std::string, std::vector<std::string>> names;
  for (const json& event : events(parse(), "M")) {
    if (event["args"].contains("name")) names[event["name"]].push_back(event["args"]["name"]);
  }
  EXPECT_EQ(names["process_name"], (std::vector<std::string>{"stage 0", "stage 1"}));
  EXPECT_EQ(names["thread_name"],
            (std::vector<std::string>{"compute", "pp-forward-send", "compute", "pp-forward-receive"}));
}

TEST_F(ChromeTraceFile, SlicesCarryTimeNameAndArguments) {
  builder_.program.entities[0].calls[0].micro_batch = 7;
  const json slice = events(parse(), "X").at(0);
  EXPECT_EQ(slice["pid"], 0);
  EXPECT_EQ(slice["tid"], 0);
  EXPECT_EQ(slice["name"], "gemm \"a\\b\"\n");
  EXPECT_EQ(slice["cat"], "compute");
  EXPECT_EQ(slice["ts"], 0.0);
  EXPECT_DOUBLE_EQ(slice["dur"].get<double>(), 1234.567891);
  EXPECT_EQ(slice["args"], json({{"layer", 1}, {"micro_batch", 7}, {"bytes", 42}, {"flop", 1.5}, {"group", "ep0"}}));
}

TEST_F(ChromeTraceFile, WhatIsNotKnownIsLeftOut) {
  trace_.label = [](std::uint32_t, std::uint32_t, std::uint32_t) { return SliceLabel{.name = "x"}; };
  const json slice = events(parse(), "X").at(0);
  EXPECT_EQ(slice["args"], json::object());
  EXPECT_FALSE(slice.contains("cat"));
}

TEST_F(ChromeTraceFile, OperationsOfNoDurationAreInstants) {
  const std::vector<json> instants = events(parse(), "i");
  ASSERT_EQ(instants.size(), 1U);
  EXPECT_EQ(instants[0]["s"], "t");
  EXPECT_FALSE(instants[0].contains("dur"));
}

// In picoseconds, read from the digits: slices of one thread follow each other without overlap.
TEST_F(ChromeTraceFile, SlicesOfAThreadDoNotOverlap) {
  std::map<std::pair<int, int>, std::int64_t> end;
  const auto picoseconds = [](const json& value) { return std::llround(value.get<double>() * 1e6); };
  const std::vector<json> slices = events(parse(), "X");
  EXPECT_EQ(slices.size(), 12U);
  for (const json& slice : slices) {
    std::int64_t& last = end[{slice["pid"].get<int>(), slice["tid"].get<int>()}];
    EXPECT_GE(picoseconds(slice["ts"]), last);
    last = picoseconds(slice["ts"]) + picoseconds(slice["dur"]);
  }
}

TEST_F(ChromeTraceFile, ArrowsLeadFromSendsToReceives) {
  for (Picoseconds& duration : builder_.program.durations[0]) duration = duration == 1 ? 1000 : duration;
  result_ = replay(builder_.program, {.record_intervals = true});
  const json trace = parse();
  const std::vector<json> tails = events(trace, "s");
  const std::vector<json> heads = events(trace, "f");
  ASSERT_EQ(tails.size(), 3U);
  ASSERT_EQ(heads.size(), 3U);
  std::map<std::int64_t, json> by_id;
  for (const json& tail : tails) by_id[tail["id"]] = tail;
  EXPECT_EQ(by_id.size(), 3U);
  for (const json& head : heads) {
    ASSERT_TRUE(by_id.contains(head["id"]));
    EXPECT_EQ(head["bp"], "e");
    EXPECT_EQ(head["pid"], 1);
    EXPECT_EQ(by_id[head["id"]]["pid"], 0);
    EXPECT_GE(head["ts"], by_id[head["id"]]["ts"]);
    int enclosing = 0;
    for (const json& slice : events(trace, "X")) {
      enclosing += slice["pid"] == head["pid"] && slice["tid"] == head["tid"] && slice["ts"] <= head["ts"] &&
                   head["ts"].get<double>() < slice["ts"].get<double>() + slice["dur"].get<double>();
    }
    EXPECT_EQ(enclosing, 1);
  }
}

TEST_F(ChromeTraceFile, EntitiesCanBeSelected) {
  trace_.entities = {1};
  const json trace = parse();
  for (const json& event : trace["traceEvents"]) EXPECT_EQ(event["pid"], 1);
  EXPECT_TRUE(events(trace, "f").empty());  // their senders are not there
  EXPECT_EQ(events(trace, "X").size(), 6U);
}

TEST_F(ChromeTraceFile, CountersAndMetadata) {
  trace_.counters = {{.entity = 1, .name = "memory", .unit = "GiB", .points = {{0, 1.5}, {2'000'000, 3}}}};
  trace_.metadata = {{"model", "tiny"}, {"plan \"x\"", "tp2"}};
  const json trace = parse();
  const std::vector<json> counters = events(trace, "C");
  ASSERT_EQ(counters.size(), 2U);
  EXPECT_EQ(counters[1]["pid"], 1);
  EXPECT_EQ(counters[1]["ts"], 2.0);
  EXPECT_EQ(counters[1]["args"], json({{"GiB", 3}}));
  EXPECT_EQ(trace["metadata"], json({{"model", "tiny"}, {"plan \"x\"", "tp2"}}));
  EXPECT_EQ(trace["displayTimeUnit"], "ms");
}

TEST_F(ChromeTraceFile, EqualReplaysGiveEqualBytes) {
  const std::string first = write();
  result_ = replay(builder_.program, {.record_intervals = true});
  EXPECT_EQ(write(), first);
}

// Long enough for several pieces of text and of compressed output.
TEST_F(ChromeTraceFile, CompressesByItsName) {
  test::Dice dice(1);
  for (int i = 0; i < 20'000; ++i) builder_.compute(1, {.duration = 1 + dice.below(1'000'000'000)});
  result_ = replay(builder_.program, {.record_intervals = true});
  const std::string plain = write();
  const std::string gzip = write(".json.gz");
  EXPECT_GT(gzip.size(), 2U << 16);
  EXPECT_EQ(gzip, write(".json.gz"));
  std::string out(plain.size(), '\0');
  z_stream stream{};
  ASSERT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(gzip.data()));
  stream.avail_in = static_cast<uInt>(gzip.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  EXPECT_EQ(stream.avail_out, 0U);
  inflateEnd(&stream);
  EXPECT_EQ(out, plain);

  const std::string zstd = write(".json.zst");
  std::string unpacked(plain.size() + 1, '\0');
  unpacked.resize(ZSTD_decompress(unpacked.data(), unpacked.size(), zstd.data(), zstd.size()));
  EXPECT_EQ(unpacked, plain);
}

TEST_F(ChromeTraceFile, AnEmptyReplayIsStillATrace) {
  const ReplayProgram nothing;
  const ReplayResult result;
  trace_.program = &nothing;
  trace_.result = &result;
  EXPECT_TRUE(parse()["traceEvents"].empty());
}

TEST_F(ChromeTraceFile, AFolderThatIsNotThereIsAnError) {
  const Status status = write_chrome_trace(trace_, "/no/such/folder/trace.json");
  ASSERT_FALSE(status.has_value());
  EXPECT_NE((status.error().what + status.error().where).find("/no/such/folder"), std::string::npos);
}

}  // namespace
}  // namespace moesim
