#include "calibration/bench_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace moesim {
namespace {

using testing::HasSubstr;

BenchCase case_of(std::string name, BenchWork work) {
  return {.name = std::move(name),
          .work = std::move(work),
          .operations = 3,
          .end = SamplesEnd::kBudget,
          .seconds = {0.25, 0.5}};
}

BenchFile every_kind() {
  const GemmWork gemm{.m = 1, .n = 2, .k = 3, .type = DType::kFp32, .output = DType::kFp32};
  const CollectiveWork collective{.kind = CollectiveKind::kAllToAll,
                                  .algorithm = CollectiveAlgorithm::kPairwise,
                                  .groups = {{RankId(0), RankId(2)}, {RankId(1), RankId(3)}},
                                  .size = Bytes(4096),
                                  .exchange = ExchangeAlgorithm::kPipe};
  BenchFile file{.program = "moeexec 1",
                 .date = "2026-11-21T12:00:00Z",
                 .command = "moeexec bench",
                 .hardware = "a machine",
                 .backend = "cpu",
                 .budget_s = 30,
                 .hosts = {"a", "a", "b", "b"},
                 .cases = {}};
  file.cases = {
      case_of("gemm", gemm),
      case_of("grouped", GroupedRows{.rows = {4, 0, 5}, .n = 6, .k = 7, .reduce_rows = true}),
      case_of("attention", AttentionWork{.sequences = 2,
                                         .query_length = 8,
                                         .key_length = 9,
                                         .heads = 4,
                                         .kv_heads = 2,
                                         .qk_dim = 16,
                                         .v_dim = 8,
                                         .window = 5,
                                         .backward = true}),
      case_of(
          "memory",
          MemoryWork{
              .kernel = MemoryKernel::kPermute, .read = Bytes(10), .written = Bytes(20), .kernels = 2, .row_bytes = 5}),
      case_of("launch", LaunchWork{}),
      case_of("operation", OperationWork{}),
      case_of("collective", collective),
      case_of("overlap", OverlapWork{.measured = OverlapMeasured::kCommunication,
                                     .compute = gemm,
                                     .compute_repeats = 8,
                                     .collective_rounds = 3,
                                     .collectives = {collective}})};
  return file;
}

TEST(BenchFile, WhatIsWrittenIsRead) {
  const std::string text = bench_json(every_kind());
  const Result<BenchFile> file = parse_bench(text, "file");
  ASSERT_TRUE(file.has_value()) << file.error().where << ": " << file.error().what;
  EXPECT_EQ(bench_json(*file), text);
  EXPECT_EQ(file->hosts, every_kind().hosts);
  ASSERT_EQ(file->cases.size(), 8U);
  EXPECT_EQ(std::get<GemmWork>(file->cases[0].work).k, 3);
  EXPECT_EQ(std::get<GroupedRows>(file->cases[1].work).rows, (std::vector<std::int64_t>{4, 0, 5}));
  EXPECT_TRUE(std::get<AttentionWork>(file->cases[2].work).backward);
  EXPECT_EQ(std::get<MemoryWork>(file->cases[3].work).kernel, MemoryKernel::kPermute);
  EXPECT_TRUE(std::holds_alternative<OperationWork>(file->cases[5].work));
  EXPECT_EQ(std::get<CollectiveWork>(file->cases[6].work).groups[1][0], RankId(1));
  EXPECT_EQ(std::get<CollectiveWork>(file->cases[6].work).exchange, ExchangeAlgorithm::kPipe);
  EXPECT_EQ(std::get<OverlapWork>(file->cases[7].work).compute_repeats, 8);
  EXPECT_EQ(std::get<OverlapWork>(file->cases[7].work).collective_rounds, 3);
  EXPECT_EQ(file->cases[7].end, SamplesEnd::kBudget);
  EXPECT_EQ(file->cases[7].operations, 3);
}

TEST(BenchFile, NoCasesIsAFileAllTheSame) {
  BenchFile empty = every_kind();
  empty.cases.clear();
  EXPECT_TRUE(parse_bench(bench_json(empty), "file").has_value());
}

struct BadInput {
  const char* from;
  const char* to;
  const char* says;
};
class BadBenchFile : public testing::TestWithParam<BadInput> {};

TEST_P(BadBenchFile, IsNamedWithItsPlace) {
  std::string text = bench_json(every_kind());
  const std::size_t at = text.find(GetParam().from);
  ASSERT_NE(at, std::string::npos);
  text.replace(at, std::string_view(GetParam().from).size(), GetParam().to);
  const Result<BenchFile> file = parse_bench(text, "x.json");
  ASSERT_FALSE(file.has_value());
  EXPECT_EQ(file.error().kind, ErrorKind::kInvalidInput);
  EXPECT_THAT(file.error().where + ": " + file.error().what, HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadBenchFile,
    testing::Values(BadInput{"moesim-bench/1", "moesim-bench/9", "is not moesim-bench/1"},
                    BadInput{"\"m\":1", "\"m\":-1", "x.json#/cases/0/m"}, BadInput{"\"m\":1", "\"mm\":1", "m"},
                    BadInput{"\"kind\":\"launch\"", "\"kind\":\"lunch\"", "'lunch' is no kind of measurement"},
                    BadInput{"\"seconds\":[0.25,0.5]", "\"seconds\":[]", "a case without samples"},
                    BadInput{"\"seconds\":[0.25,0.5]", "\"seconds\":[0,0.5]", "/seconds/0"},
                    BadInput{"[[0,2],[1,3]]", "[[0,4],[1,3]]", "/groups/0/1"},
                    BadInput{"[[0,2],[1,3]]", "[[0,2],[2,3]]", "in a group already"},
                    BadInput{"[[0,2],[1,3]]", "[[],[2,3]]", "a group without ranks"},
                    BadInput{"\"kernel\":\"permute\"", "\"kernel\":\"permut\"", "did you mean 'permute'"},
                    BadInput{"\"type\":\"fp32\"", "\"type\":\"fp33\"", "x.json#/cases/0/type"},
                    BadInput{"\"measured\":\"communication\"", "\"measured\":\"both\"", "neither compute nor"}));

TEST(BenchFile, NeedsRanks) {
  EXPECT_FALSE(parse_bench(R"({"schema": "moesim-bench/1", "hosts": [], "cases": []})", "x").has_value());
  EXPECT_FALSE(parse_bench("[]", "x").has_value());
  EXPECT_FALSE(parse_bench("{", "x").has_value());
}

}  // namespace
}  // namespace moesim
