#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "calibration/import/observations.hpp"

namespace moesim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// The layout of nccl-tests' output with invented figures.
constexpr std::string_view kLog = R"(# Collective test starting: all_reduce_perf
# nThread 1 nGpus 2 minBytes 1024 maxBytes 4096 step: 2(factor) warmup iters: 5 iters: 20 agg iters: 1 validation: 1 graph: 0
#
# Using devices
#  Rank  0 Group  0 Pid  100 on      alpha device  0 [0x07] A Device
#  Rank  1 Group  0 Pid  100 on      alpha device  1 [0x0f] A Device
#  Rank  2 Group  0 Pid  101 on       beta device  0 [0x07] A Device
#  Rank  3 Group  0 Pid  101 on       beta device  1 [0x0f] A Device
#
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)
alpha:100:100 [0] NCCL INFO Connected all rings
           0             0     float     sum      -1     0.20    0.00    0.00      0     0.18    0.00    0.00      0
        1024           256     float     sum      -1    20.50    0.05    0.07      0    21.00    0.05    0.07    N/A
        4096          1024     float     sum      -1    30.25    0.14    0.20      0    31.00    0.13    0.20    N/A
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 0.135
)";

TEST(NcclText, RowsHostsAndOperation) {
  const Result<Observations> all = parse_observations(kLog, "job.log");
  ASSERT_TRUE(all.has_value()) << all.error().what;
  EXPECT_THAT(all->hosts, ElementsAre("alpha", "alpha", "beta", "beta"));
  ASSERT_EQ(all->rows.size(), 2U);
  const auto& work = std::get<CollectiveWork>(all->rows[1].work);
  EXPECT_EQ(work.kind, CollectiveKind::kAllReduce);
  EXPECT_EQ(work.size, Bytes(4096));
  EXPECT_THAT(work.groups, ElementsAre(ElementsAre(RankId(0), RankId(1), RankId(2), RankId(3))));
  EXPECT_DOUBLE_EQ(all->rows[1].seconds, 30.25e-6);  // out of place
  EXPECT_EQ(all->left_out.at("of size or time 0"), 1);
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string result(text);
  for (std::size_t at = result.find(from); at != std::string::npos; at = result.find(from, at + to.size()))
    result.replace(at, from.size(), to);
  return result;
}

TEST(NcclText, ColumnsAreFoundByName) {
  std::string log = replaced(kLog, "root     time", "root  extra  cputime");
  log = replaced(log, "sum      -1    30.25", "sum      -1  77 30.25");
  log = replaced(log, "sum      -1    20.50", "sum      -1  77 20.50");
  const Result<Observations> all =
      parse_observations(replaced(log, "sum      -1     0.20", "sum -1 77 0.20"), "job.log");
  ASSERT_TRUE(all.has_value()) << all.error().what;
  EXPECT_DOUBLE_EQ(all->rows[0].seconds, 20.5e-6);
}

TEST(NcclText, SplitsAreGroupsAtOnce) {
  std::string log = replaced(kLog, "Rank  2 Group  0", "Rank  2 Group  1");
  log = replaced(log, "Rank  3 Group  0", "Rank  3 Group  1");
  const auto all = parse_observations(log, "job.log").value();
  EXPECT_THAT(std::get<CollectiveWork>(all.rows[0].work).groups,
              ElementsAre(ElementsAre(RankId(0), RankId(1)), ElementsAre(RankId(2), RankId(3))));
}

TEST(NcclText, TheFilesNameMaySayWhatWasMeasured) {
  const std::string log = replaced(kLog, "all_reduce_perf", "test");
  EXPECT_EQ(std::get<CollectiveWork>(parse_observations(log, "/x/alltoall-4.txt")->rows[0].work).kind,
            CollectiveKind::kAllToAll);
  const Result<Observations> unknown = parse_observations(log, "/all_reduce/job.log");
  ASSERT_FALSE(unknown.has_value());
  EXPECT_THAT(unknown.error().hint, HasSubstr("all_reduce.log"));
}

TEST(NcclText, BadLogs) {
  const auto fails = [](const std::string& log, std::string_view what) {
    const Result<Observations> all = parse_observations(log, "x.log");
    ASSERT_FALSE(all.has_value()) << what;
    EXPECT_EQ(all.error().kind, ErrorKind::kInvalidInput);
    EXPECT_THAT(all.error().where + all.error().what, HasSubstr(std::string(what)));
  };
  fails(replaced(kLog, "30.25", "nan"), "x.log:16");
  fails(replaced(kLog, "30.25", "-1"), "x.log:16");
  fails(replaced(kLog, "Rank ", "Rang "), "fewer than two ranks");
  fails(std::string(kLog.substr(0, kLog.find("           0   "))), "without results");
  fails("hello\n", "no known form");
}

constexpr std::string_view kJson =
    R"({"version": 3, "start_time": "2026-02-03 04:05:06", "args": ["./all_gather_perf", "-g", "2"],
 "nccl_version": "2.28.9", "config": {"nthreads": 1},
 "devices": [{"rank": 0, "group": 0, "hostname": "alpha"}, {"rank": 1, "group": 0, "hostname": "alpha"}],
 "results": [{"size": 1024, "count": 128, "type": "float", "out_of_place": {"time": 12.5, "alg_bw": 0.1}, "in_place": {"time": 13}},
             {"size": 2048, "out_of_place": {"cpu_time": 14}, "new_key": null}], "average_bus_bandwidth": 0.1})";

TEST(NcclJson, ResultsAndDevices) {
  const Result<Observations> all = parse_observations(kJson, "x.json");
  ASSERT_TRUE(all.has_value()) << all.error().where << all.error().what;
  EXPECT_EQ(all->date, "2026-02-03");
  ASSERT_EQ(all->rows.size(), 2U);
  EXPECT_EQ(std::get<CollectiveWork>(all->rows[0].work).kind, CollectiveKind::kAllGather);
  EXPECT_DOUBLE_EQ(all->rows[0].seconds, 12.5e-6);
  EXPECT_DOUBLE_EQ(all->rows[1].seconds, 14e-6);
}

TEST(NcclJson, BadFiles) {
  const auto fails = [](const std::string& text, std::string_view where) {
    const Result<Observations> all = parse_observations(text, "x.json");
    ASSERT_FALSE(all.has_value()) << where;
    EXPECT_THAT(all.error().where + ": " + all.error().what, HasSubstr(std::string(where)));
  };
  fails(replaced(kJson, "12.5", "\"fast\""), "x.json#/results/0/out_of_place/time");
  fails(replaced(kJson, "\"size\": 1024", "\"size\": -1"), "x.json#/results/0/size");
  fails(replaced(kJson, "\"rank\": 1", "\"rank\": 7"), "ranks must follow each other");
  fails(replaced(kJson, "all_gather_perf", "perf"), "does not say which collective");
  fails(replaced(kJson, "out_of_place", "elsewhere"), "out_of_place");
}

TEST(Csv, ThreeKindsByTheirHeaders) {
  const auto collective =
      parse_observations("operation,ranks,size_bytes,time_us,algorithm\nall_to_all,3,300,5,pairwise\n", "a.csv")
          .value();
  EXPECT_EQ(std::get<CollectiveWork>(collective.rows[0].work).groups[0].size(), 3U);
  EXPECT_DOUBLE_EQ(collective.rows[0].seconds, 5e-6);
  const auto gemm = parse_observations("m,n,k,type,time_us\n1,2,3,fp32,10\n4,5,6,,20\n", "b.csv").value();
  EXPECT_EQ(std::get<GemmWork>(gemm.rows[0].work).type, DType::kFp32);
  EXPECT_EQ(std::get<GemmWork>(gemm.rows[1].work).type, DType::kBf16);
  const auto memory = parse_observations("kernel,bytes,time_us\nnorm,1000,1\n", "c.csv").value();
  EXPECT_EQ(std::get<MemoryWork>(memory.rows[0].work).kernel, MemoryKernel::kNorm);
}

TEST(Csv, BadRowsAreNamedWithTheirLine) {
  const auto fails = [](const std::string& text, std::string_view what) {
    const Result<Observations> all = parse_observations(text, "x.csv");
    ASSERT_FALSE(all.has_value()) << what;
    EXPECT_THAT(all.error().where + ": " + all.error().what, HasSubstr(std::string(what)));
  };
  fails("m,n,k,time_us\n1,2,3,0\n", "x.csv:2: time_us");
  fails("m,n,k,time_us\n1,2,3,\n", "x.csv:2: time_us");
  fails("m,n,k,time_us\n0,2,3,1\n", "x.csv:2: m must be");
  fails("m,n,k,time_us\n", "no rows");
  fails("operation,ranks,size_bytes,time_us\nall_reduse,2,8,1\n", "did you mean 'all_reduce'");
  fails("operation,ranks,size_bytes,time_us\nall_reduce,1,8,1\n", "x.csv:2: ranks");
  fails("kernel,bytes,type,time_us\nnorm,8,fp99,1\n", "x.csv:2");
}

}  // namespace
}  // namespace moesim
