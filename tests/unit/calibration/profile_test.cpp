#include "calibration/profile.hpp"

#include <gmock/gmock.h>

#include "calibration/parameter_fields.hpp"
#include "models/cluster/cluster_source.hpp"
#include "models/cluster/device.hpp"

namespace moesim {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kProfile = R"({"device": "A100-SXM4-80GB",
  "gemm": {"parameters": {"math_efficiency": 0.5, "overhead_s": 4e-6},
           "provenance": {"origin": "fitted", "source": "a bench", "range": "k up to 8192", "residual_median": 0.03,
                          "residual_p90": 0.1, "points": 12, "date": "2026-11-21"}}})";

ClusterView preset(const std::string& name) {
  auto view = compile(*load_cluster("preset:" + name, 2));
  EXPECT_TRUE(view.has_value());
  return std::move(*view);
}

TEST(Profile, WritesWhatItReads) {
  const Result<Profile> profile = parse_profile(kProfile, "p.json");
  ASSERT_TRUE(profile.has_value());
  const std::string text = profile_json(*profile);
  EXPECT_EQ(profile_json(*parse_profile(text, "p.json")), text);
  EXPECT_EQ(profile->sections.front().points, 12);
  EXPECT_EQ(profile->sections.front().provenance.origin, Origin::kFitted);
}

TEST(Profile, ErrorsNameThePlace) {
  const auto error = [](std::string_view text) { return parse_profile(text, "p.json").error(); };
  EXPECT_THAT(error("[]").what, HasSubstr("profile"));
  EXPECT_THAT(error(R"({"gemm": {}})").where, HasSubstr("p.json"));
  EXPECT_THAT(error(R"({"device": "A100", "gem": {}})").what, HasSubstr("gem"));
  EXPECT_THAT(
      error(R"({"device": "A100", "gemm": {"parameters": {"math_efficiency": 1.5}, "provenance": {"source": "x"}}})")
          .where,
      HasSubstr("#/gemm/parameters/math_efficiency"));
  EXPECT_THAT(error(R"({"device": "A100", "gemm": {"parameters": {"speed": 1}, "provenance": {"source": "x"}}})").what,
              HasSubstr("speed"));
  EXPECT_FALSE(load_profile("/nonexistent.json").has_value());
}

TEST(Profile, EveryShippedFileIsReadAndNamesADevice) {
  EXPECT_EQ(shipped_profiles().size(), 8U);
  for (const Profile& profile : shipped_profiles()) {
    EXPECT_TRUE(find_device(profile.device).has_value()) << profile.device;
    EXPECT_FALSE(profile.sections.empty()) << profile.device;
    for (const ProfileSection& section : profile.sections) {
      EXPECT_FALSE(section.provenance.source.empty());
      EXPECT_GE(section.provenance.residual, 0);
    }
  }
}

TEST(Profile, OwnDeviceFirstThenArchitectureThenEstimate) {
  const Profile own = *parse_profile(kProfile, "p.json");
  const ClusterView view = preset("a100");
  const LawParameters parameters = calibrated_parameters(view, std::span(&own, 1)).front();
  EXPECT_DOUBLE_EQ(parameters.gemm.math_efficiency, 0.5);
  EXPECT_EQ(parameters.gemm_provenance.origin, Origin::kFitted);
  EXPECT_DOUBLE_EQ(parameters.gemm_provenance.residual, 0.03);
  // Attention comes from the A100-PCIe of the same architecture.
  EXPECT_EQ(parameters.attention_provenance.origin, Origin::kEstimated);
  EXPECT_THAT(parameters.attention_provenance.source, HasSubstr("carried over from A100-PCIe-80GB"));
  EXPECT_LT(parameters.attention_provenance.residual, 0);
  // Nobody measured CDNA 3.
  EXPECT_THAT(calibrated_parameters(preset("mi300x")).front().gemm_provenance.source,
              ::testing::Not(HasSubstr("carried")));
}

TEST(Profile, CarriedGemmEfficiencyFollowsTheBestPublishedRates) {
  const Profile own = *parse_profile(kProfile, "p.json");
  const ClusterView view({*find_device("A800")}, {0}, {1.0}, {0}, {});
  // The A800 has no best rate: 0.5 as it stands. Shipped profiles come after the given one.
  EXPECT_DOUBLE_EQ(calibrated_parameters(view, std::span(&own, 1)).front().gemm.math_efficiency, 0.5);
  const ClusterView pcie({*find_device("A100-40GB")}, {0}, {1.0}, {0}, {});
  EXPECT_DOUBLE_EQ(calibrated_parameters(pcie, std::span(&own, 1)).front().gemm.math_efficiency,
                   0.5);  // both 271.2 of 312
}

TEST(Profile, ANetworkProfileNeedsItsFabric) {
  const auto nic = [](const ClusterView& view) {
    return calibrated_parameters(view).front().link_provenance[static_cast<std::size_t>(LinkClass::kNic)];
  };
  EXPECT_EQ(nic(preset("polaris")).origin, Origin::kFitted);
  EXPECT_EQ(nic(preset("gh200")).origin, Origin::kFitted);
  EXPECT_THAT(nic(preset("a100-40gb")).source, HasSubstr("400 Gbit/s"));  // InfiniBand: not Polaris' network
}

TEST(Profile, FieldsReadBackWhatTheySet) {
  for (const ParameterSection& section : parameter_sections()) {
    for (const ParameterField& field : section.fields) {
      LawParameters parameters;
      const double value = (field.smallest + field.largest) / 2;
      field.set(parameters, section.link, value);
      EXPECT_DOUBLE_EQ(field.get(parameters, section.link), value) << section.name << ' ' << field.name;
    }
  }
}

// Hand-checked figures of well-known hardware, with the shipped profiles.
TEST(CalibratedModel, Anchors) {
  const auto rate = [](const CostModel& model, DType type) {
    return 2.0 * 8192 * 8192 * 8192 / model.gemm(0, {.m = 8192, .n = 8192, .k = 8192, .type = type}).time.value() /
           1e12;
  };
  const ClusterView h100 = preset("h100");
  const CostModel hopper = make_cost_model(h100);
  EXPECT_GT(rate(hopper, DType::kBf16), 620);
  EXPECT_LT(rate(hopper, DType::kBf16), 760);
  const ClusterView a100 = preset("a100");
  EXPECT_GT(rate(make_cost_model(a100), DType::kBf16), 235);
  EXPECT_LT(rate(make_cost_model(a100), DType::kBf16), 270);
  std::vector<RankId> ranks;
  for (int rank = 0; rank < 8; ++rank) ranks.emplace_back(rank);
  const GroupTopology node(h100, ranks);
  const Bytes size(1LL << 30);
  const auto bus = [&](CollectiveKind kind, CollectiveAlgorithm algorithm, double factor) {
    return factor * size.value() / hopper.collective(kind, node, size, algorithm).time.value() / 1e9;
  };
  EXPECT_NEAR(bus(CollectiveKind::kAllReduce, CollectiveAlgorithm::kAuto, 1.75), 470, 30);
  EXPECT_NEAR(bus(CollectiveKind::kAllReduce, CollectiveAlgorithm::kRing, 1.75), 360, 20);
  EXPECT_NEAR(bus(CollectiveKind::kAllToAll, CollectiveAlgorithm::kAuto, 0.875), 325, 25);
  EXPECT_LT(hopper.expected_relative_error(), 0.16);
}

}  // namespace
}  // namespace moesim
