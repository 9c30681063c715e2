// From made-up measurements to a profile and back to predictions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "calibration/measured_json.hpp"
#include "calibration/profile_fit.hpp"
#include "models/cluster/cluster_reader.hpp"
#include "models/cluster/cluster_source.hpp"

namespace moesim {
namespace {

using testing::HasSubstr;

constexpr std::string_view kCluster = R"({"name": "processors", "nodes": 2, "node": {
  "device": {"name": "test core", "memory": "8GB", "memory_bandwidth": "20GB/s", "compute_units": 1, "arch": "cpu",
             "dense_peak": {"fp32": "100GFLOPS"}, "boost_clock": "3GHz"},
  "devices": 2, "pcie": {"bandwidth": "10GB/s", "latency": "0.3us"},
  "nics": {"count": 1, "bandwidth": "200Mbit/s", "latency": "10us", "place": "host"}},
  "network": [{"name": "net", "latency": "1us"}]})";

std::shared_ptr<const ClusterView> cluster() {
  const auto document = JsonDocument::parse_text(kCluster, "cluster");
  const Result<ClusterSpec> spec = read_cluster(document->root(), 0);
  EXPECT_TRUE(spec.has_value()) << spec.error().where << spec.error().what;
  Result<ClusterView> view = compile(*spec);
  EXPECT_TRUE(view.has_value());
  return std::make_shared<const ClusterView>(std::move(*view));
}

AttentionWork attention(std::int64_t length, std::int64_t heads) {
  return {.sequences = 1,
          .query_length = length,
          .key_length = length,
          .heads = heads,
          .kv_heads = heads,
          .qk_dim = 16,
          .v_dim = 16,
          .type = DType::kFp32};
}
// 10 ns for each query and key, and 20 us for each head.
double attention_seconds(std::int64_t length, std::int64_t heads) {
  return static_cast<double>(heads) * (20e-6 + 10e-9 * static_cast<double>(length * length));
}

// 8 us and 5 ns/B between the two hosts; GEMMs at 50 GFLOP/s with 1 us; a norm at 4 GB/s with 0.5 us.
Observations made_up() {
  Observations file{.source = "made up", .date = "2026-01-02", .hosts = {"a", "b"}, .rows = {}, .left_out = {}};
  for (std::int64_t bytes = 256; bytes <= 1 << 22; bytes *= 4)
    file.rows.push_back(
        {CollectiveWork{CollectiveKind::kAllGather, CollectiveAlgorithm::kRing, {{RankId(0), RankId(1)}}, Bytes(bytes)},
         8e-6 + 5e-9 * static_cast<double>(bytes), "gather"});
  for (const std::int64_t m : {1, 8, 64, 512})
    for (const std::int64_t n : {128, 1024}) {
      const double flops = 2.0 * static_cast<double>(m * n * 256);
      file.rows.push_back({GemmWork{.m = m, .n = n, .k = 256, .type = DType::kFp32, .output = DType::kFp32},
                           1e-6 + flops / 50e9, "gemm"});
    }
  for (std::int64_t bytes = 1000; bytes <= 10'000'000; bytes *= 10)
    file.rows.push_back(
        {MemoryWork{.kernel = MemoryKernel::kNorm, .type = DType::kFp32, .read = Bytes(bytes), .written = Bytes(bytes)},
         0.5e-6 + 2 * static_cast<double>(bytes) / 4e9, "norm"});
  for (const std::int64_t length : {32, 64, 128})
    for (const std::int64_t heads : {2, 4})
      file.rows.push_back({attention(length, heads), attention_seconds(length, heads), "attention"});
  file.rows.push_back({LaunchWork{}, 0.2e-6, "launch"});
  file.rows.push_back({OperationWork{}, 3e-6, "operation"});
  const GemmWork small{.m = 64, .n = 128, .k = 256, .type = DType::kFp32, .output = DType::kFp32};
  const CollectiveWork beside = std::get<CollectiveWork>(file.rows[0].work);
  // 10 GEMMs of 0.1 ms and 2 collectives of 0.25 ms in 1.1 ms: 0.1 ms of the 0.5 is not hidden.
  file.rows.push_back({OverlapWork{OverlapMeasured::kCompute, small, 10, 0, {}}, 1e-3, "gemm alone"});
  file.rows.push_back({OverlapWork{OverlapMeasured::kCommunication, {}, 1, 0, {beside}}, 0.25e-3, "collective alone"});
  file.rows.push_back({OverlapWork{OverlapMeasured::kCompute, small, 10, 2, {beside}}, 1.1e-3, "both"});
  return file;
}

TEST(Calibrate, TheProfilePredictsWhatItWasMadeFrom) {
  const auto view = cluster();
  const Result<CalibratedProfile> result = calibrate({made_up()}, view);
  ASSERT_TRUE(result.has_value()) << result.error().what;
  // Through the file, as every program reads it.
  const Result<Profile> profile = parse_profile(profile_json(result->profile), "profile");
  ASSERT_TRUE(profile.has_value()) << profile.error().where << profile.error().what;
  const CostModel model = make_cost_model(*view, std::span(&*profile, 1));
  const GroupTopology across(*view, std::vector<RankId>{RankId(0), RankId(2)});  // the first rank of each host
  const CommCost gather = model.collective(CollectiveKind::kAllGather, across, Bytes(100'000));
  EXPECT_NEAR(gather.time.value() / (8e-6 + 5e-4), 1, 0.02);
  EXPECT_FALSE(gather.extrapolated);
  const Cost gemm = model.gemm(0, {.m = 64, .n = 128, .k = 256, .type = DType::kFp32, .output = DType::kFp32});
  EXPECT_NEAR(gemm.time.value() / (1e-6 + 2.0 * 64 * 128 * 256 / 50e9), 1, 0.01);
  EXPECT_FALSE(gemm.extrapolated);
  EXPECT_TRUE(model.gemm(0, {.m = 4096, .n = 128, .k = 256, .type = DType::kFp32}).extrapolated);
  const MemoryWork norm{
      .kernel = MemoryKernel::kNorm, .type = DType::kFp32, .read = Bytes(30'000), .written = Bytes(30'000)};
  EXPECT_NEAR(model.memory_bound(0, norm).time.value() / (0.5e-6 + 60'000 / 4e9), 1, 0.02);
  EXPECT_NEAR(model.attention(0, attention(64, 4)).time.value() / attention_seconds(64, 4), 1, 0.01);
  EXPECT_FALSE(model.attention(0, attention(64, 4)).extrapolated);
  EXPECT_NEAR(model.attention(0, attention(64, 3)).time.value() / attention_seconds(64, 3), 1, 0.05);
  EXPECT_TRUE(model.attention(0, attention(256, 4)).extrapolated);
  EXPECT_NEAR(model.parameters(0).launch.issue_interval.value(), 0.2e-6, 1e-9);
  EXPECT_NEAR(model.parameters(0).launch.operation.value(), 3e-6, 1e-8);
  EXPECT_NEAR(model.parameters(0).overlap.units_held, 0.2, 0.001);
  for (const LawProvenance& law : model.provenance()) {
    if (law.law != "gemm" && law.law != "collectives by size") continue;
    EXPECT_THAT(law.provenance.source, HasSubstr("made up")) << law.law;
  }
}

TEST(Calibrate, ErrorsByKindAndHeldOut) {
  const Result<CalibratedProfile> result = calibrate({made_up()}, cluster());
  ASSERT_TRUE(result.has_value());
  for (const KindErrors& errors : result->errors) {
    if (errors.kind == "overlap") continue;
    EXPECT_GT(errors.points, 0);
    EXPECT_LT(errors.median, 0.02) << errors.kind;
    if (errors.kind == "all_gather") {
      EXPECT_EQ(errors.points, 8);
      EXPECT_EQ(errors.held_out_points, 4);
      EXPECT_LT(errors.held_out_median, 0.05);
    }
  }
  // all_gather, attention_forward, gemm, launch, norm, operation, overlap
  EXPECT_EQ(result->errors.size(), 7U);
}

TEST(Calibrate, IsDeterministic) {
  EXPECT_EQ(profile_json(calibrate({made_up()}, cluster())->profile),
            profile_json(calibrate({made_up()}, cluster())->profile));
}

TEST(Calibrate, MeasuredRanksMustFitOnTheCluster) {
  Observations file = made_up();
  file.hosts = {"a", "b", "c"};
  EXPECT_THAT(calibrate({file}, cluster()).error().what, HasSubstr("the cluster has 2 nodes"));
  file.hosts = {"a", "a", "a"};
  EXPECT_THAT(calibrate({file}, cluster()).error().what, HasSubstr("more than 2 ranks were measured on a host"));
  file.hosts.clear();
  std::get<CollectiveWork>(file.rows[0].work).groups = {{RankId(0), RankId(9)}};
  EXPECT_THAT(calibrate({file}, cluster()).error().what, HasSubstr("10 ranks were measured, the cluster has 4"));
  EXPECT_THAT(calibrate({}, cluster()).error().what, HasSubstr("nothing was measured"));
}

TEST(Calibrate, HostsAreNodesInTheirOrder) {
  const auto view = cluster();
  const auto placed = place_ranks({"x", "y", "x"}, 3, *view, "file").value();
  EXPECT_EQ(placed, (std::vector<RankId>{RankId(0), RankId(2), RankId(1)}));
}

// Beside a linear exchange at 4 ns/B one by pipe at 9: each is priced as it was measured, through the file.
TEST(Calibrate, ExchangesByTheirAlgorithm) {
  Observations file{.source = "made up", .date = "2026-01-02", .hosts = {"a", "b"}, .rows = {}, .left_out = {}};
  for (std::int64_t bytes = 256; bytes <= 1 << 22; bytes *= 4)
    for (const auto& [exchange, seconds_per_byte] :
         {std::pair(ExchangeAlgorithm::kLinear, 4e-9), std::pair(ExchangeAlgorithm::kPipe, 9e-9)})
      file.rows.push_back({CollectiveWork{.kind = CollectiveKind::kAllToAll,
                                          .algorithm = CollectiveAlgorithm::kPairwise,
                                          .groups = {{RankId(0), RankId(1)}},
                                          .size = Bytes(bytes),
                                          .exchange = exchange},
                           20e-6 + seconds_per_byte * static_cast<double>(bytes), "exchange"});
  const auto view = cluster();
  const Result<CalibratedProfile> result = calibrate({file}, view);
  ASSERT_TRUE(result.has_value()) << result.error().what;
  std::vector<std::string> kinds;
  for (const KindErrors& errors : result->errors) kinds.push_back(errors.kind);
  EXPECT_THAT(kinds, testing::ElementsAre("all_to_all", "all_to_all_pipe"));
  const Result<Profile> profile = parse_profile(profile_json(result->profile), "profile");
  ASSERT_TRUE(profile.has_value()) << profile.error().where << profile.error().what;
  const CostModel model = make_cost_model(*view, std::span(&*profile, 1));
  const GroupTopology across(*view, std::vector<RankId>{RankId(0), RankId(2)});
  const std::vector<std::int64_t> even = {1, 1, 1, 1};
  const auto seconds = [&](ExchangeAlgorithm algorithm) {
    return model.exchange(across, model.exchange_work(algorithm, across, {even, 2}), Bytes(50'000)).time.value();
  };
  EXPECT_NEAR(seconds(ExchangeAlgorithm::kLinear) / 420e-6, 1, 0.01);
  EXPECT_NEAR(seconds(ExchangeAlgorithm::kPipe) / 920e-6, 1, 0.01);
}

// --- the measured part of profile files

TEST(MeasuredProfile, CurvesOfAnotherDeviceDoNotCount) {
  Profile profile = calibrate({made_up()}, cluster())->profile;
  profile.device = "another core";
  const auto view = cluster();
  EXPECT_TRUE(calibrated_parameters(*view, std::span(&profile, 1)).front().measured.gemm.empty());
  EXPECT_TRUE(calibrated_parameters(*view, std::span(&profile, 1)).front().measured.collectives.empty());
}

std::string profile_with(const std::string& section, const std::string& content) {
  return R"({"device": "d", ")" + section + R"(": {)" + content + R"(, "provenance": {"source": "s"}}})";
}

TEST(MeasuredProfile, BadFiles) {
  const auto fails = [](const std::string& section, const std::string& content, std::string_view what) {
    const Result<Profile> profile = parse_profile(profile_with(section, content), "p");
    ASSERT_FALSE(profile.has_value()) << content;
    EXPECT_THAT(profile.error().where + ": " + profile.error().what, HasSubstr(std::string(what)));
  };
  fails("gemm", R"("points": {"fp32": [[1, 2, 3]]})", "p#/gemm/points/fp32/0: 3 numbers");
  fails("gemm", R"("points": {"fp32": [[1, 2, 0, 1]]})", "p#/gemm/points/fp32/0/2");
  fails("gemm", R"("points": {"fp39": []})", "p#/gemm/points/fp39");
  fails("gemm", R"("points": [])", "p#/gemm/points");
  fails("gemm", R"("pionts": {})", "pionts");
  fails("attention", R"("forward": {"fp32": [[1, 2, 2, 4, 4, 8, 8]]})", "p#/attention/forward/fp32/0: 7 numbers");
  fails("attention", R"("backward": {"fp32": [[1, 2.5, 2, 4, 4, 8, 8, 1]]})", "whole numbers");
  fails("attention", R"("backward": {"fp39": []})", "p#/attention/backward/fp39");
  fails("attention", R"("forward": [])", "p#/attention/forward");
  const std::string norm = R"("series": [{"kernel": "norm", "type": "fp32", )";
  fails("memory", norm + R"("pieces": [], "measured": [[1, 1]]}])", "without pieces");
  fails("memory", norm + R"("pieces": [[0, 1, 1], [0, 1, 1]], "measured": [[1, 1]]}])", "behind the one before");
  fails("memory", norm + R"("pieces": [[0, 1, 1]], "measured": []}])", "nothing was measured");
  fails("memory", norm + R"("pieces": [[0, 1, 1]], "measured": [[2, 1], [1, 1]]}])", "must not fall");
  fails("memory", norm + R"("pieces": [[1, -2, 1]], "measured": [[2, 1]]}])", "begins with a time below 0");
  fails("memory", norm + R"("pieces": [[0, 1, -1]], "measured": [[2, 1]]}])", "p#/memory/series/0/pieces/0/2");
  fails("collectives", R"("series": [{"operation": "all_gahter"}])", "did you mean 'all_gather'");
  const std::string gather = R"("series": [{"operation": "all_gather", "algorithm": "ring", "exchange": )";
  fails("collectives", gather + R"("pipe"}])", "only an all_to_all has an algorithm of exchange");
  fails("collectives", gather + R"("pip"}])", "did you mean 'pipe'");
}

TEST(MeasuredJson, ArraysOfNumbersStandOnOneLine) {
  EXPECT_EQ(with_short_arrays("{\n  \"a [1,\\\" 2]\": [\n    1,\n    2.5\n  ],\n  \"b\": [\n    \"x\"\n  ]\n}"),
            "{\n  \"a [1,\\\" 2]\": [1, 2.5],\n  \"b\": [\n    \"x\"\n  ]\n}");
  EXPECT_EQ(with_short_arrays("[\n  [\n    1\n  ],\n  []\n]"), "[\n  [1],\n  []\n]");
}

}  // namespace
}  // namespace moesim
