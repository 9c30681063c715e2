#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <numeric>

#include "trace_test_util.hpp"
#include "traces/bundled.hpp"
#include "traces/info.hpp"
#include "traces/random.hpp"

namespace moesim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Random, IsTheSameEverywhere) {
  // The first outputs of the reference implementation's demo: pcg32_srandom(42, 54).
  Pcg32 random(42, 54);
  EXPECT_EQ(random.next(), 0xa15c02b7U);
  EXPECT_EQ(random.next(), 0x7b47f409U);
  EXPECT_EQ(random.next(), 0xba1d3330U);
}

TEST(Random, LogarithmAndExponential) {
  for (const double x : {1e-300, 1e-9, 0.3, 0.7071, 1.0, 1.5, 2.718281828, 1e10, 1e300})
    EXPECT_NEAR(portable_log(x), std::log(x), 1e-15 * (1 + std::abs(std::log(x))));
  for (const double x : {-600.0, -3.3, -1e-9, 0.0, 0.5, 1.0, 20.0})
    EXPECT_NEAR(portable_exp(x) / std::exp(x), 1, 1e-13);
  EXPECT_EQ(portable_exp(-1e9), 0);
}

TEST(Random, GammaHasItsMoments) {
  for (const double shape : {0.3, 1.0, 8.0}) {
    Pcg32 random(7);
    double sum = 0, squares = 0;
    constexpr int kDraws = 20000;
    for (int i = 0; i < kDraws; ++i) {
      const double x = random.gamma(shape);
      sum += x;
      squares += x * x;
    }
    const double mean = sum / kDraws;
    EXPECT_NEAR(mean, shape, 0.05 * shape + 0.02);  // mean and variance are both `shape`
    EXPECT_NEAR(squares / kDraws - mean * mean, shape, 0.1 * shape + 0.02);
  }
}

SynthesisRequest request_of(GateLaw law) {
  SynthesisRequest request;
  request.law = law;
  request.steps = 3;
  request.layers = 2;
  request.micro_batches = 2;
  request.source_ranks = 3;
  request.experts = 16;
  request.top_k = 4;
  request.tokens = 100;
  request.drift = 0.2;
  request.hot_share = 0.25;  // the most that distinct choices allow
  request.dirichlet_alpha = 0.1;
  request.zipf_exponent = 2;
  return request;
}

class RowCounter final : public RowSink {
 public:
  std::uint64_t rows = 0;
  Status counts(const CountRow&) override { return ++rows, Status(); }
  Status token(const TokenRow&) override { return {}; }
};

TEST(Synthesis, SizesBeyondTheBoundAreRefusedAtOnce) {
  SynthesisRequest request;
  request.experts = 10;
  request.layers = 100;
  request.source_ranks = 1000;
  request.micro_batches = 100;
  request.steps = 100;  // 10 * 100 * 1000 * 100 * 100 = 10^10 counts, the most there can be
  EXPECT_TRUE(check_synthesis(request).has_value());
  request.steps = 101;
  RowCounter sink;
  const Status refused = synthesize(request, sink);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(sink.rows, 0U);
  EXPECT_EQ(refused.error().kind, ErrorKind::kUsage);
  EXPECT_EQ(refused.error().what,
            "the trace would have 1.01e+10 counts (1.01e+09 rows of 10 experts), more than 1e+10");
  EXPECT_THAT(refused.error().hint, HasSubstr("fewer steps"));

  request = {};
  request.steps = request.layers = request.micro_batches = request.source_ranks = INT32_MAX;
  request.experts = 65536;
  EXPECT_FALSE(check_synthesis(request).has_value());
  request.steps = request.micro_batches = request.source_ranks = 1;
  request.experts = 1001;
  request.layers = 100'000;  // within the counts, but 1.001 * 10^8 shares in memory
  const Status wide = check_synthesis(request);
  ASSERT_FALSE(wide.has_value());
  EXPECT_EQ(wide.error().what, "100000 layers of 1001 experts are more than 1e+08 experts together");
}

TEST(Synthesis, NothingIsWrittenWhereTheSizeIsRefused) {
  SynthesisRequest request;
  request.steps = INT32_MAX;
  const std::string path = testing::TempDir() + "moesim-synthesis-refused/x.csv";  // in a folder that does not exist
  const auto written = synthesize_file(request, path);
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().kind, ErrorKind::kUsage);  // not an error of the file system
}

// Keeps the last of what it is told, and asks to stop once so many rows are done.
class StopAt final : public ProgressSink {
 public:
  explicit StopAt(std::uint64_t row) : row_(row) {}
  void update(std::uint64_t done, std::uint64_t total, std::string_view) override {
    last = done;
    of = total;
    if (done >= row_) stop = true;
  }
  std::uint64_t last = 0;
  std::uint64_t of = 0;
  std::atomic<bool> stop{false};

 private:
  std::uint64_t row_;
};

TEST(Synthesis, TellsProgressAndStopsWhenAsked) {
  SynthesisRequest request;
  request.steps = 10'000;
  RowCounter sink;
  StopAt never(UINT64_MAX);
  ASSERT_TRUE(synthesize(request, sink, {&never, StopToken(never.stop)}).has_value());
  EXPECT_EQ(sink.rows, 10'000U);
  EXPECT_EQ(never.of, 10'000U);
  EXPECT_GT(never.last, 9'000U);

  RowCounter partial;
  StopAt soon(2'000);
  const Status stopped = synthesize(request, partial, {&soon, StopToken(soon.stop)});
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().kind, ErrorKind::kInterrupted);
  EXPECT_GE(partial.rows, 2'000U);
  EXPECT_LT(partial.rows, 4'000U);
}

TEST(Synthesis, RowsSumExactlyUnderTheCap) {
  for (const GateLaw law : {GateLaw::kBalanced, GateLaw::kZipf, GateLaw::kDirichlet, GateLaw::kHotExpert}) {
    const auto trace = synthesize_trace(request_of(law));
    ASSERT_TRUE(trace) << trace.error().what;
    EXPECT_EQ(trace->dims(), (TraceDims{3, 2, 2, 3, 16}));
    EXPECT_EQ(trace->info.origin, TraceOrigin::kSynthetic);
    for (int s = 0; s < 3; ++s)
      for (int l = 0; l < 2; ++l)
        for (int m = 0; m < 2; ++m)
          for (int r = 0; r < 3; ++r) {
            const auto row = row_of(*trace, s, l, m, r);
            EXPECT_EQ(std::accumulate(row.begin(), row.end(), 0U), 400U);
            EXPECT_LE(*std::max_element(row.begin(), row.end()), 100U);
          }
  }
}

TEST(Synthesis, BalancedAndHotAreWhatTheySay) {
  const auto balanced = synthesize_trace(request_of(GateLaw::kBalanced));
  ASSERT_TRUE(balanced);
  EXPECT_THAT(row_of(*balanced, 2, 1, 1, 2), testing::Each(25));
  SynthesisRequest request = request_of(GateLaw::kHotExpert);
  request.drift = 0;
  request.tokens = 100000;
  request.hot_share = 0.2;
  const auto hot = synthesize_trace(request);
  ASSERT_TRUE(hot);
  const auto row = row_of(*hot, 1, 0, 0, 0);
  EXPECT_NEAR(*std::max_element(row.begin(), row.end()), 80000, 6 * std::sqrt(400000 * 0.2 * 0.8));
}

TEST(Synthesis, SeedsAreReproducible) {
  const auto a = synthesize_trace(request_of(GateLaw::kDirichlet));
  const auto b = synthesize_trace(request_of(GateLaw::kDirichlet));
  SynthesisRequest other = request_of(GateLaw::kDirichlet);
  other.seed = 2;
  const auto c = synthesize_trace(other);
  ASSERT_TRUE(a && b && c);
  EXPECT_EQ(row_of(*a, 2, 1, 1, 2), row_of(*b, 2, 1, 1, 2));
  EXPECT_NE(row_of(*a, 2, 1, 1, 2), row_of(*c, 2, 1, 1, 2));
}

TEST(Synthesis, DriftMovesTheDistribution) {
  SynthesisRequest request = request_of(GateLaw::kDirichlet);
  request.tokens = 100000;
  request.dirichlet_alpha = 1;
  const auto change = [&](double drift) {
    request.drift = drift;
    const auto trace = synthesize_trace(request);
    double moved = 0;
    for (std::size_t e = 0; e < 16; ++e)
      moved += std::abs(static_cast<double>(trace->counts(0, 0, 0, 0)[e]) -
                        static_cast<double>(trace->counts(2, 0, 0, 0)[e]));
    return moved / 400000;
  };
  EXPECT_LT(change(0), 0.02);
  EXPECT_GT(change(0.5), 0.1);
}

// The default share of a hot expert is more than top 8 allows; only the law that uses it may mind.
TEST(Synthesis, OtherLawsIgnoreTheHotShare) {
  SynthesisRequest request = request_of(GateLaw::kZipf);
  request.top_k = 8;
  request.hot_share = 0.3;
  EXPECT_TRUE(synthesize_trace(request));
}

TEST(Synthesis, BadRequestsAreErrors) {
  SynthesisRequest request;
  request.top_k = 9;
  EXPECT_FALSE(synthesize_trace(request));
  request = {};
  request.law = GateLaw::kHotExpert;
  request.hot_share = 0.6;
  EXPECT_FALSE(synthesize_trace(request));
  request = {};
  request.dirichlet_alpha = 0;
  EXPECT_FALSE(synthesize_trace(request));
  request = {};
  request.drift = std::nan("");
  EXPECT_FALSE(synthesize_trace(request));
  EXPECT_FALSE(parse_gate_law("ziff"));
  EXPECT_EQ(*parse_gate_law("zipf"), GateLaw::kZipf);
}

bool same_counts(const SelectionTrace& a, const SelectionTrace& b) {
  if (a.dims() != b.dims() || a.iterations() != b.iterations() || a.layers() != b.layers() ||
      a.source_ranks() != b.source_ranks() || a.micro_batches() != b.micro_batches())
    return false;
  const TraceDims d = a.dims();
  for (int s = 0; s < d.steps; ++s)
    for (int l = 0; l < d.layers; ++l)
      for (int m = 0; m < d.micro_batches; ++m)
        for (int r = 0; r < d.source_ranks; ++r)
          if (row_of(a, s, l, m, r) != row_of(b, s, l, m, r)) return false;
  return true;
}

TEST(Conversion, IsLossless) {
  const TempFolder folder;
  const SynthesisRequest request = request_of(GateLaw::kDirichlet);
  ASSERT_TRUE(synthesize_file(request, folder.path("a.csv.zst")));
  const auto report = convert_trace(folder.path("a.csv.zst"), folder.path("b.csv"), TraceRows::kCounts);
  ASSERT_TRUE(report) << describe(report.error());
  EXPECT_EQ(report->rows, 36U);
  ASSERT_TRUE(convert_trace(folder.path("b.csv"), folder.path("c.csv.zst"), TraceRows::kCounts));
  const SelectionTrace original = *synthesize_trace(request);
  const SelectionTrace converted = load_or_fail(folder.path("c.csv.zst"));
  EXPECT_TRUE(same_counts(original, converted));
  EXPECT_EQ(converted.info.origin, TraceOrigin::kSynthetic);
  EXPECT_THAT(converted.info.source, HasSubstr("--dirichlet-alpha 0.1"));
  TraceInfo expected = original.info;
  expected.format = converted.info.format;
  EXPECT_EQ(converted.info, expected);
}

TEST(Conversion, KeepsTokens) {
  const TempFolder folder;
  const std::string text =
      "iter,layer,micro_batch,src_rank,token,id0,id1\n3,1,0,0,0,2,0\n3,1,0,0,1,-1,1\n4,1,0,0,0,2,1\n";
  ASSERT_TRUE(convert_trace(folder.write("t.csv", text), folder.path("u.csv"), TraceRows::kTokens));
  std::ifstream file(folder.path("u.csv"));
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), text);
  EXPECT_TRUE(same_counts(load_or_fail(folder.path("t.csv")), load_or_fail(folder.path("u.csv"))));
}

TEST(Conversion, CountsGiveNoTokens) {
  const TempFolder folder;
  const auto report =
      convert_trace(folder.write("t.csv", "layer,e0,e1\n0,1,2\n"), folder.path("u.csv"), TraceRows::kTokens);
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().what, HasSubstr("counts only"));
  EXPECT_FALSE(std::filesystem::exists(folder.path("u.csv")));
}

// traces/recorded/README.md has the numbers.
TEST(Bundled, AreRecordingsThatSayHowTheyWereMade) {
  for (const auto& [name, experts] : std::vector<std::pair<std::string, int>>{
           {"bundled:byte-moe-8-balanced", 8}, {"bundled:byte-moe-16", 16}, {"bundled:byte-moe-16-balanced", 16}}) {
    const SelectionTrace trace = load_or_fail(name);
    const int steps = experts == 8 ? 137 : 201;
    EXPECT_EQ(trace.dims(), (TraceDims{steps, 4, 2, 4, experts})) << name;
    EXPECT_EQ(trace.info.origin, TraceOrigin::kRecorded);
    EXPECT_EQ(trace.info.phase, TracePhase::kTraining);
    EXPECT_EQ(trace.info.top_k, 2);
    EXPECT_THAT(trace.info.source, testing::StartsWith("moeexec record "));
    for (int step = 0; step < steps; ++step) {
      const auto row = trace.counts(step, 3, 1, 2);
      EXPECT_EQ(std::accumulate(row.begin(), row.end(), 0U), 2U * 256U);  // 256 tokens, top-2
    }
  }
  EXPECT_EQ(error_of("bundled:byte").kind, ErrorKind::kUsage);
}

TEST(Bundled, TheAuxiliaryLossEvensOutTheLoads) {
  const auto without = describe_trace("bundled:byte-moe-16");
  const auto with = describe_trace("bundled:byte-moe-16-balanced");
  ASSERT_TRUE(without && with);
  EXPECT_LT(with->statistics.mean.max_over_mean, without->statistics.mean.max_over_mean);
}

TEST(Findings, ErrorsDecideTheExitCode) {
  const TempFolder folder;
  folder.write("t.csv.json", R"({"top_k": 1, "tokens_per_rank_per_microbatch": 3})");
  const auto high = describe_trace(folder.write("t.csv", "layer,rank,e0,e1\n0,0,2,2\n0,1,3,0\n1,0,1,1\n"));
  ASSERT_TRUE(high);
  EXPECT_EQ(high->findings.worst(), Severity::kError);
  EXPECT_EQ(high->exit_code(), 3);
  EXPECT_TRUE(high->findings.has("row-sum-high"));
  EXPECT_TRUE(high->findings.has("row-sum-low"));
  const auto fine = describe_trace(folder.write("t.csv", "layer,rank,e0,e1\n0,0,2,1\n0,1,3,0\n"));
  ASSERT_TRUE(fine);
  EXPECT_EQ(fine->exit_code(), 0);
}

TEST(Findings, LongRunsOfEqualRowsLookLikeWarmUp) {
  const TempFolder folder;
  std::string text = "iter,layer,e0,e1\n";
  for (int i = 0; i < 1001; ++i) text += std::to_string(i) + ",0,2,2\n";
  const auto exactly = load_trace(folder.write("t.csv", text.substr(0, text.rfind("1000,0"))));
  EXPECT_FALSE(exactly->findings.has("identical-rows"));
  EXPECT_TRUE(load_trace(folder.write("t.csv", text))->findings.has("identical-rows"));
}

TEST(Limits, TooMuchForMemoryIsAnError) {
  const TempFolder folder;
  ImportOptions options;
  options.memory_limit_bytes = 64;
  const std::string rows = "iter,layer,rank,e0,e1\n0,0,0,1,1\n1,1,1,1,1\n2,2,2,1,1\n";  // 27 cells of 8 bytes as a grid
  EXPECT_THAT(describe(error_of(folder.write("t.csv", rows), options)), HasSubstr("more than the limit"));
  const auto streamed = describe_trace(folder.path("t.csv"), options);  // statistics need no grid
  EXPECT_TRUE(streamed);
  const auto holes = load_trace(folder.path("t.csv"));
  ASSERT_TRUE(holes);
  EXPECT_TRUE(holes->findings.has("missing-rows"));
}

}  // namespace
}  // namespace moesim
