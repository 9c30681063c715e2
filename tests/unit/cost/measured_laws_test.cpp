// Shapes, kernels and collectives that were measured take the place of the laws' guesses.
#include <gtest/gtest.h>

#include <cmath>

#include "models/cost/all_to_all_v_law.hpp"
#include "models/cost/attention_surface.hpp"
#include "models/cost/cost_model.hpp"
#include "models/cost/exchange/exchange_law.hpp"
#include "models/cost/gemm_surface.hpp"
#include "test_cluster.hpp"

namespace moesim {
namespace {

TEST(PiecewiseTime, EachPieceHasItsStartUpAndRate) {
  const PiecewiseTime time{
      .pieces = {{0, 10e-6, 1e-9}, {4096, 20e-6, 0.5e-9}}, .smallest_bytes = 512, .largest_bytes = 65536};
  EXPECT_DOUBLE_EQ(time.at(1000).value(), 11e-6);
  EXPECT_DOUBLE_EQ(time.at(4096).value(), 20e-6 + 4096 * 0.5e-9);
  EXPECT_DOUBLE_EQ(time.at(8000).value(), 24e-6);
  EXPECT_FALSE(time.covers(511));
  EXPECT_TRUE(time.covers(512));
  EXPECT_FALSE(time.covers(65537));
}

double one_second(double, double, double) { return 1; }

TEST(GemmSurface, GivesBackWhatWasMeasuredAndGoesBetween) {
  const std::vector<GemmPoint> points = {{DType::kFp32, 64, 256, 256, 2}, {DType::kFp32, 256, 256, 256, 4}};
  const GemmSurface surface(points, DType::kFp32, one_second);
  EXPECT_NEAR(surface.at(64, 256, 256).factor, 2, 1e-3);
  EXPECT_NEAR(surface.at(256, 256, 256).factor, 4, 1e-3);
  EXPECT_NEAR(surface.at(128, 256, 256).factor, std::sqrt(8.0), 1e-3);
  EXPECT_TRUE(surface.at(128, 256, 256).inside);
}

// A ratio that is a power of each size is a plane in logarithms: found again at any shape between.
TEST(GemmSurface, FollowsATrend) {
  const auto truth = [](double m, double n, double k) {
    return std::pow(m, -0.3) * std::pow(n, 0.2) * std::pow(k, 0.1);
  };
  std::vector<GemmPoint> points;
  for (const double m : {1.0, 16.0, 256.0})
    for (const double n : {256.0, 1024.0})
      for (const double k : {128.0, 2048.0}) points.push_back({DType::kBf16, m, n, k, truth(m, n, k)});
  const GemmSurface surface(points, DType::kBf16, one_second);
  for (const double m : {3.0, 40.0, 200.0})
    EXPECT_NEAR(surface.at(m, 500, 700).factor / truth(m, 500, 700), 1, 0.02) << m;
}

TEST(GemmSurface, OutsideItIsTheBorderAndSaysSo) {
  const std::vector<GemmPoint> points = {{DType::kFp32, 64, 256, 256, 2}, {DType::kFp32, 256, 256, 256, 4}};
  const GemmSurface surface(points, DType::kFp32, one_second);
  EXPECT_FALSE(surface.at(512, 256, 256).inside);
  EXPECT_NEAR(surface.at(512, 256, 256).factor, 4, 1e-3);
  EXPECT_FALSE(surface.at(64, 256, 512).inside);
  // Within the range of each size, but 2^20 rows have nothing near.
  const std::vector<GemmPoint> far = {{DType::kFp32, 1, 1, 1, 1}, {DType::kFp32, 1 << 20, 1, 1, 1}};
  EXPECT_FALSE(GemmSurface(far, DType::kFp32, one_second).at(1024, 1, 1).inside);
}

TEST(GemmSurface, OtherFormatsAndRepeatsOfAShape) {
  const std::vector<GemmPoint> points = {{DType::kFp32, 8, 8, 8, 2}, {DType::kFp32, 8, 8, 8, 8}};
  EXPECT_NEAR(GemmSurface(points, DType::kFp32, one_second).at(8, 8, 8).factor, 4, 1e-9);  // sqrt(2 * 8)
  EXPECT_TRUE(GemmSurface(points, DType::kBf16, one_second).empty());
}

// Six heads of 64 + 64 take 1.5x the law and twelve 3x: nine lie between as in a plane of logarithms, whatever else.
TEST(AttentionSurface, GivesBackWhatWasMeasuredAndGoesBetween) {
  const AttentionWork six{.sequences = 1,
                          .query_length = 128,
                          .key_length = 128,
                          .heads = 6,
                          .kv_heads = 6,
                          .qk_dim = 64,
                          .v_dim = 64,
                          .type = DType::kFp32};
  AttentionWork twelve = six;
  twelve.heads = 12;
  const auto law = [](const AttentionWork&) { return 2.0; };
  const AttentionSurface surface(std::vector<AttentionPoint>{{six, 3}, {twelve, 6}}, DType::kFp32, law);
  EXPECT_NEAR(surface.at(six).factor, 1.5, 1e-3);
  EXPECT_NEAR(surface.at(twelve).factor, 3, 1e-3);
  AttentionWork between = six;
  between.heads = 9;
  EXPECT_NEAR(surface.at(between).factor, 1.5 * std::pow(2, std::log2(9.0 / 6)), 0.01);
  EXPECT_TRUE(surface.at(between).inside);
  AttentionWork longer = six;
  longer.query_length = longer.key_length = 512;
  EXPECT_FALSE(surface.at(longer).inside);
  AttentionWork windowed = six;
  windowed.window = 16;
  EXPECT_FALSE(surface.at(windowed).inside);
  EXPECT_DOUBLE_EQ(surface.at(windowed).factor, 1);
  AttentionWork backward = six;
  backward.backward = true;
  EXPECT_TRUE(surface.covers(six));
  EXPECT_FALSE(surface.covers(backward));
}

ClusterView processors() {
  DeviceSpec device = round_device();
  device.arch = DeviceArch::kCpu;
  device.compute_units = 1;
  return {{device}, {0}, {1.0}, {0}, {}};
}

TEST(MeasuredGemm, ReplacesTheLawAtItsShapes) {
  const ClusterView view = processors();
  LawParameters parameters = round_parameters();
  parameters.measured.gemm = {{DType::kBf16, 64, 256, 256, 1e-3}, {DType::kBf16, 256, 256, 256, 4e-3}};
  const CostModel model(view, {parameters});
  const Cost at_shape = model.gemm(0, {.m = 64, .n = 256, .k = 256});
  EXPECT_NEAR(at_shape.time.value(), 1e-3, 1e-6);
  EXPECT_FALSE(at_shape.extrapolated);
  EXPECT_TRUE(model.gemm(0, {.m = 64, .n = 256, .k = 4096}).extrapolated);
  // The format that was not measured stays the law's.
  const GemmWork fp32{.m = 64, .n = 256, .k = 256, .type = DType::kFp32};
  EXPECT_EQ(model.gemm(0, fp32).time, CostModel(view, {round_parameters()}).gemm(0, fp32).time);
  EXPECT_EQ(model.gemm(0, {.m = 0, .n = 256, .k = 256}).time, Seconds(0));
}

TEST(MeasuredAttention, ReplacesTheLawAtItsShapes) {
  const ClusterView view = processors();
  const AttentionWork work{.sequences = 2,
                           .query_length = 64,
                           .key_length = 64,
                           .heads = 4,
                           .kv_heads = 2,
                           .qk_dim = 16,
                           .v_dim = 16,
                           .backward = true};
  LawParameters parameters = round_parameters();
  parameters.measured.attention = {{work, 7e-3}};
  const CostModel model(view, {parameters});
  EXPECT_NEAR(model.attention(0, work).time.value(), 7e-3, 1e-6);
  EXPECT_FALSE(model.attention(0, work).extrapolated);
  AttentionWork forward = work;
  forward.backward = false;
  EXPECT_EQ(model.attention(0, forward).time, CostModel(view, {round_parameters()}).attention(0, forward).time);
}

// What the executor does comes on top of the kernel, and of an operation without one.
TEST(Launch, TheExecutorsOwnTimeIsAdded) {
  const ClusterView view = processors();
  LawParameters parameters = round_parameters();
  parameters.launch.issue_interval = Seconds(1e-6);
  parameters.launch.operation = Seconds(5e-6);
  const CostModel model(view, {parameters});
  EXPECT_DOUBLE_EQ(model.as_issued(0, 2, {.time = Seconds(1e-3)}).time.value(), 1e-3 + 5e-6);
  EXPECT_DOUBLE_EQ(model.as_issued(0, 2, {.time = Seconds(1e-6)}).time.value(), 7e-6);
  EXPECT_DOUBLE_EQ(model.as_issued(0, 0, {}).time.value(), 5e-6);
}

// A processor runs the groups one after the other, so two groups are two products and empty ones are free.
TEST(MeasuredGemm, GroupsOfAProcessorAddUp) {
  const ClusterView view = processors();
  LawParameters parameters = round_parameters();
  parameters.measured.gemm = {{DType::kBf16, 64, 256, 256, 1e-3}, {DType::kBf16, 256, 256, 256, 4e-3}};
  const CostModel model(view, {parameters});
  const std::vector<std::int64_t> rows = {64, 0, 256};
  EXPECT_NEAR(model.grouped_gemm(0, {.rows = rows, .n = 256, .k = 256}).time.value(), 5e-3, 5e-6);
  // Weight gradients: 256 x 256 outputs over 64 and over 256 rows.
  const Cost gradient = model.grouped_gemm(0, {.rows = rows, .n = 256, .k = 256, .reduce_rows = true});
  const double products = model.gemm(0, {.m = 256, .n = 256, .k = 64}).time.value() +
                          model.gemm(0, {.m = 256, .n = 256, .k = 256}).time.value();
  EXPECT_DOUBLE_EQ(gradient.time.value(), products);
  EXPECT_TRUE(gradient.extrapolated);  // k = 64 was not measured
  const std::vector<std::int64_t> none = {0, 0};
  EXPECT_EQ(model.grouped_gemm(0, {.rows = none, .n = 256, .k = 256}).time, Seconds(0));
}

TEST(MeasuredMemory, TheKernelHasItsCurve) {
  const ClusterView view = processors();
  LawParameters parameters = round_parameters();
  parameters.measured.memory = {{MemoryKernel::kNorm,
                                 DType::kFp32,
                                 {.pieces = {{0, 1e-6, 1e-9}}, .smallest_bytes = 1000, .largest_bytes = 1e6},
                                 {}}};
  const CostModel model(view, {parameters});
  const MemoryWork norm{
      .kernel = MemoryKernel::kNorm, .type = DType::kFp32, .read = Bytes(5000), .written = Bytes(5000)};
  EXPECT_DOUBLE_EQ(model.memory_bound(0, norm).time.value(), 11e-6);
  EXPECT_FALSE(model.memory_bound(0, norm).extrapolated);
  MemoryWork two_kernels = norm;
  two_kernels.kernels = 2;  // of half the bytes each
  EXPECT_DOUBLE_EQ(model.memory_bound(0, two_kernels).time.value(), 12e-6);
  MemoryWork tiny = norm;
  tiny.read = tiny.written = Bytes(10);
  EXPECT_TRUE(model.memory_bound(0, tiny).extrapolated);
  MemoryWork other = norm;
  other.type = DType::kBf16;
  EXPECT_EQ(model.memory_bound(0, other).time, CostModel(view, {round_parameters()}).memory_bound(0, other).time);
}

CollectiveSeries exchange_of(GroupShape shape) {
  return {CollectiveKind::kAllToAll,
          CollectiveAlgorithm::kPairwise,
          shape,
          {.pieces = {{0, 100e-6, 1e-9}}, .smallest_bytes = 1e3, .largest_bytes = 1e9},
          {}};
}

TEST(MeasuredCollectives, CountForGroupsThatLieAlike) {
  const ClusterView view = two_tier_view(2, 2, 2);
  LawParameters parameters = round_parameters();
  parameters.measured.collectives = {exchange_of({.ranks = 4, .nodes = 2, .ranks_per_node = 2, .port_sharers = 2})};
  const CostModel model(view, {parameters});
  const GroupTopology all(view, rank_list(4));
  EXPECT_EQ(all.shape(), parameters.measured.collectives[0].shape);
  CollectiveAlgorithm chosen{};
  const CommCost cost =
      model.collective(CollectiveKind::kAllToAll, all, Bytes(1'000'000), CollectiveAlgorithm::kAuto, &chosen);
  EXPECT_DOUBLE_EQ(cost.time.value(), 1100e-6);
  EXPECT_EQ(chosen, CollectiveAlgorithm::kPairwise);
  EXPECT_FALSE(cost.extrapolated);
  EXPECT_TRUE(model.collective(CollectiveKind::kAllToAll, all, Bytes(10)).extrapolated);
  // Law: two ranks share 10 GB/s, 4 blocks of 0.25 MB leave a node: 1 MB / 10 GB/s = 100 us of the 1100 that it took,
  // which is 0.05 of the port for each of its two sharers.
  EXPECT_NEAR(cost.port_share[1], 100.0 / 1100 / 2, 1e-6);
  // Other groups and other operations keep the law.
  const CostModel law(view, {round_parameters()});
  const GroupTopology node(view, rank_list(2));
  EXPECT_EQ(model.collective(CollectiveKind::kAllToAll, node, Bytes(1'000'000)).time,
            law.collective(CollectiveKind::kAllToAll, node, Bytes(1'000'000)).time);
  EXPECT_EQ(model.collective(CollectiveKind::kAllGather, all, Bytes(1'000'000)).time,
            law.collective(CollectiveKind::kAllGather, all, Bytes(1'000'000)).time);
}

TEST(MeasuredCollectives, AnUnevenExchangeTakesAsLongAsTheEvenOneWithTheSameBusiestPort) {
  const ClusterView view = two_tier_view(2, 1);
  LawParameters parameters = round_parameters();
  parameters.measured.collectives = {exchange_of({.ranks = 2, .nodes = 2, .ranks_per_node = 1, .port_sharers = 1})};
  const CostModel model(view, {parameters});
  const GroupTopology pair(view, rank_list(2));
  const std::vector<std::int64_t> uneven = {7, 3'000'000, 1'000'000, 9};  // the diagonal stays
  const std::vector<std::int64_t> even = {3'000'000, 3'000'000, 3'000'000, 3'000'000};
  for (const auto& bytes : {uneven, even})
    EXPECT_EQ(even_exchange_as_long(pair, parameters, exchange_load(pair, {bytes, 2}), Bytes(1)), Bytes(6'000'000));
  // Units of several bytes are the same matrix.
  const std::vector<std::int64_t> rows = {0, 3, 1, 0};
  EXPECT_EQ(even_exchange_as_long(pair, parameters, exchange_load(pair, {rows, 2}), Bytes(1'000'000)),
            Bytes(6'000'000));
  EXPECT_DOUBLE_EQ(model.all_to_all_v(pair, {uneven, 2}).time.value(), 100e-6 + 6e-3);
  EXPECT_EQ(model.all_to_all_v(pair, {even, 2}).time,
            model.collective(CollectiveKind::kAllToAll, pair, Bytes(6'000'000)).time);
}

// Pipe over three nodes of one: two rounds, of which the first carries 2 GB and the second nothing, as long as both of an even
// exchange with 1 GB to each: buffers of 3 GB. Linear keeps its own series.
TEST(MeasuredCollectives, CountForTheAlgorithmOfTheExchangeThatWasMeasured) {
  const ClusterView view = two_tier_view(3, 1);
  LawParameters parameters = round_parameters();
  const GroupShape apart{.ranks = 3, .nodes = 3, .ranks_per_node = 1, .port_sharers = 1};
  CollectiveSeries by_pipe = exchange_of(apart);
  by_pipe.exchange = ExchangeAlgorithm::kPipe;
  by_pipe.time.pieces = {{0, 300e-6, 2e-9}};
  by_pipe.time.largest_bytes = 1e10;
  parameters.measured.collectives = {by_pipe};
  const CostModel model(view, {parameters});
  const CostModel law(view, {round_parameters()});
  const GroupTopology group(view, rank_list(3));
  const std::vector<std::int64_t> one_way = {0, 2, 0, 0, 0, 0, 0, 0, 0};
  const Bytes giga(1'000'000'000);
  const auto work_of = [&](ExchangeAlgorithm algorithm) { return model.exchange_work(algorithm, group, {one_way, 3}); };
  const ExchangeWork pipe = work_of(ExchangeAlgorithm::kPipe);
  EXPECT_EQ(even_exchange_as_long(group, parameters, pipe, giga), Bytes(3'000'000'000));
  EXPECT_DOUBLE_EQ(model.exchange(group, pipe, giga).time.value(), 300e-6 + 6.0);
  for (const ExchangeAlgorithm other : {ExchangeAlgorithm::kLinear, ExchangeAlgorithm::kTwoLevel}) {
    const ExchangeWork work = work_of(other);
    EXPECT_EQ(model.exchange(group, work, giga).time, law.exchange(group, work, giga).time);
  }
  EXPECT_EQ(model.collective(CollectiveKind::kAllToAll, group, giga).time,
            law.collective(CollectiveKind::kAllToAll, group, giga).time);
}

}  // namespace
}  // namespace moesim
