#include "sim/sweep/spec.hpp"

#include <gtest/gtest.h>

#include "sweep_testing.hpp"

namespace moesim {
namespace {

Error error_of(std::string_view text) {
  const auto spec = SweepSpec::parse(text, "s.json");
  EXPECT_FALSE(spec.has_value()) << text;
  return spec ? Error{} : spec.error();
}

TEST(SweepSpec, LastAxisVariesFastest) {
  const SweepSpec spec = small_sweep();
  ASSERT_TRUE(spec.check().has_value());
  ASSERT_EQ(spec.points(), 12);  // 3 tp x 2 ep x 2 micro_batch
  std::vector<std::string> seen;
  for (std::int64_t i = 0; i < 5; ++i) {
    const Plan plan = spec.point(i).plan;
    seen.push_back(std::to_string(plan.sizes().tp) + std::to_string(plan.sizes().ep) +
                   std::to_string(plan.micro_batch));
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"121", "122", "141", "142", "221"}));
  EXPECT_EQ(spec.point(11).plan.sizes().tp, 3);
}

TEST(SweepSpec, SizesFollowFromTheWorld) {
  const SweepSpec spec = small_sweep();
  PlanFile file = spec.point(6);  // tp 2, ep 4
  spec.derive_sizes(file, 8);
  EXPECT_EQ(file.plan.sizes().dp, 4);
  EXPECT_EQ(file.plan.sizes().edp, 2);
  file = spec.point(8);  // tp 3
  spec.derive_sizes(file, 8);
  EXPECT_EQ(file.plan.sizes().dp, 0);
}

TEST(SweepSpec, DpAsAnAxisIsTaken) {
  SweepSpec spec = small_sweep();
  const auto axis = parse_axis(SweepField::kDp, "16");
  ASSERT_TRUE(axis.has_value());
  spec.set_axis(*axis);
  PlanFile file = spec.point(0);
  spec.derive_sizes(file, 8);
  EXPECT_EQ(file.plan.sizes().dp, 16);
}

TEST(SweepSpec, SchedulesBringTheirChunks) {
  SweepSpec spec = small_sweep();
  const auto axis = parse_axis(SweepField::kPipeline, "1f1b,zbv");
  ASSERT_TRUE(axis.has_value());
  spec.set_axis(*axis);
  PlanFile file = spec.point(1);  // it varies fastest here
  ASSERT_EQ(file.plan.pipeline, "zbv");
  spec.derive_sizes(file, 8);
  EXPECT_EQ(file.plan.sizes().vpp, 2);
}

TEST(SweepSpec, AxesReplaceThoseOfTheFile) {
  SweepSpec spec = small_sweep();
  const auto axis = parse_axis(SweepField::kTp, "8");
  ASSERT_TRUE(axis.has_value());
  spec.set_axis(*axis);
  EXPECT_EQ(spec.points(), 4);
  EXPECT_EQ(spec.point(0).plan.sizes().tp, 8);
}

TEST(SweepSpec, CanonicalTextDoesNotDependOnTheSpelling) {
  const auto other = SweepSpec::parse(R"({"axes": {"micro_batch": "1:2:+1", "ep": [2, 4], "tp": "1:3:+1"},
    "base": {"global_batch": 16, "seq_length": 512, "nodes": 1, "cluster": "preset:h100", "model": "zoo:olmoe-1b-7b"},
    "schema_version": 1})",
                                      "other.json");
  ASSERT_TRUE(other.has_value()) << other.error().what;
  EXPECT_EQ(other->canonical_text(), small_sweep().canonical_text());
}

TEST(SweepSpec, ErrorsNameThePlace) {
  EXPECT_EQ(error_of(R"({"axes": {}})").where, "s.json#");
  EXPECT_EQ(error_of(R"({"schema_version": 1, "axes": {"tpp": [1]}})").where, "s.json#/axes/tpp");
  EXPECT_EQ(error_of(R"({"schema_version": 1, "axes": {"tp": []}})").where, "s.json#/axes/tp");
  EXPECT_EQ(error_of(R"({"schema_version": 1, "axes": {"tp": [1, 1]}})").what, "a value stands twice");
  EXPECT_EQ(error_of(R"({"schema_version": 1, "axes": {"tp": [1, 0]}})").where, "s.json#/axes/tp/1");
  EXPECT_EQ(error_of(R"({"schema_version": 1, "axes": {"tp": "1:2"}})").where, "s.json#/axes/tp");
  EXPECT_EQ(error_of(R"({"schema_version": 1, "axes": {"pipeline": "1f2b"}})").where, "s.json#/axes/pipeline");
  EXPECT_EQ(error_of(R"({"schema_version": 1, "axes": {"recompute": ["half"]}})").where, "s.json#/axes/recompute/0");
  EXPECT_EQ(error_of(R"({"schema_version": 1, "axes": [1]})").where, "s.json#/axes");
  EXPECT_EQ(error_of(R"({"schema_version": 1, "base": 5})").where, "s.json#/base");
  EXPECT_EQ(error_of(R"({"schema_version": 1, "base": {"layout": {"tp": 0}}})").where, "s.json#/base/layout/tp");
  EXPECT_EQ(error_of(R"({"schema_version": 1, "base": {"micro_bach": 2}})").where, "s.json#/base/micro_bach");
  EXPECT_EQ(error_of(R"({"schema_version": 1, "base": "no such file.json"})").where, "no such file.json");
  EXPECT_EQ(error_of(R"({"schema_version": 1, "bases": {}})").where, "s.json#/bases");
}

TEST(SweepSpec, DemandsWhatHasNoDefault) {
  const auto spec =
      SweepSpec::parse(R"({"schema_version": 1, "base": {"model": "zoo:olmoe-1b-7b", "seq_length": 8}})", "s.json");
  ASSERT_TRUE(spec.has_value());
  const Status complete = spec->check();
  ASSERT_FALSE(complete.has_value());
  EXPECT_EQ(complete.error().what, "the sweep does not say which cluster to use");
}

TEST(SweepSpec, BoundsItsPoints) {
  SweepSpec spec = small_sweep();
  for (const auto& [field, text] :
       {std::pair(SweepField::kSeqLength, "1:10000:+1"), std::pair(SweepField::kDp, "1:1000:+1")}) {
    const auto axis = parse_axis(field, text);
    ASSERT_TRUE(axis.has_value());
    spec.set_axis(*axis);
  }
  const Status bounded = spec.check();  // 12 x 10^4 x 10^3 = 1.2 x 10^8
  ASSERT_FALSE(bounded.has_value());
  EXPECT_EQ(bounded.error().what, "the axes have more than 10000000 points together");
}

}  // namespace
}  // namespace moesim
