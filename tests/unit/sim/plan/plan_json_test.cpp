#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "plan_testing.hpp"

namespace moesim {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kSmallest = R"({
  "schema_version": 1, "model": "zoo:mixtral-8x7b", "cluster": "preset:h100",
  "layout": {"dp": 64}, "seq_length": 4096, "global_batch": 128
})";

PlanFile every_field() {
  PlanFile file;
  file.model = "zoo:deepseek-v3";
  file.cluster = "clusters/\"h800\".json";
  file.nodes = 256;
  file.trace = "trace.csv.zst";
  Plan& plan = file.plan;
  plan.layout.sizes = {.tp = 2, .cp = 1, .pp = 2, .vpp = 2, .dp = 2, .ep = 4, .esp = 1, .edp = 1, .ep_on_node = 2};
  plan.layout.order = "tp-cp-ep-pp-dp";
  for (int r = 7; r >= 0; --r) plan.layout.device_map.emplace_back(r);
  plan.sequence_parallel = false;
  plan.seq_length = 8192;
  plan.micro_batch = 2;
  plan.global_batch = 256;
  plan.precision = "fp8-params";
  plan.pipeline = "zbv";
  plan.stage_layers = {15, 16, 16, 14};
  plan.moe_schedule = "parm-s1";
  plan.moe_backward_degree = 4;
  plan.moe_shadows = 3;
  plan.moe_dispatch_format = WireFormat::kFp8;
  plan.moe_combine_format = WireFormat::kBf16;
  plan.comm_sm_share = 20.0 / 132;
  plan.expert_slots = {{{1, 0}, {0, 1}}};
  plan.capacity_factor = 1.1;  // no exact binary fraction: the text must give the same bits back
  plan.pad_to_capacity = true;
  plan.all_to_all = ExchangeAlgorithm::kTwoLevel;
  plan.all_reduce = CollectiveAlgorithm::kTree;
  plan.recompute = Recompute::kFull;
  plan.zero_dense = ZeroStage::kParameters;
  plan.zero_expert = ZeroStage::kNone;
  plan.grad_bucket_elements = 123'456'789'012;
  plan.overlap_grad_reduce = false;
  plan.overlap_param_gather = false;
  return file;
}

TEST(PlanJson, RoundTripsEveryField) {
  const PlanFile file = every_field();
  for (const int indent : {-1, 2}) {
    const auto read = parse_plan(plan_to_json(file, indent), "p.json");
    ASSERT_TRUE(read.has_value()) << read.error().what;
    EXPECT_EQ(*read, file);
    EXPECT_EQ(plan_to_json(*read, indent), plan_to_json(file, indent));
  }
}

TEST(PlanJson, OmittedFieldsHaveTheDefaultsOfThePlan) {
  const auto file = parse_plan(kSmallest, "p.json");
  ASSERT_TRUE(file.has_value()) << file.error().what;
  Plan expected;
  expected.layout.sizes.dp = 64;
  expected.layout.sizes.edp = 64;  // follows from the others
  expected.global_batch = 128;
  EXPECT_EQ(file->plan, expected);
  EXPECT_EQ(file->nodes, 0);
  EXPECT_EQ(file->trace, "");
}

TEST(PlanJson, VppFollowsTheScheduleWhereThatFixesIt) {
  auto json = nlohmann::json::parse(kSmallest);
  json["layout"] = {{"dp", 4}, {"pp", 4}};
  for (const auto& [pipeline, vpp] : {std::pair{"1f1b", 1}, {"zbv", 2}, {"dualpipe", 2}, {"interleaved", 1}}) {
    json["pipeline"] = pipeline;
    EXPECT_EQ(parse_plan(json.dump(), "p.json")->plan.sizes().vpp, vpp) << pipeline;
  }
}

TEST(PlanJson, KeysStandInAStableOrder) {
  const std::string text = plan_to_json(every_field(), 2);
  EXPECT_TRUE(text.starts_with("{\n  \"schema_version\": 1,\n  \"model\": \"zoo:deepseek-v3\","));
  EXPECT_TRUE(text.ends_with("}\n"));
  EXPECT_LT(text.find("\"layout\""), text.find("\"micro_batch\""));
}

TEST(PlanJson, ReadsFiles) {
  const auto path = std::filesystem::temp_directory_path() / "moesim_plan_json_test.json";
  std::ofstream(path) << plan_to_json(every_field(), 2);
  EXPECT_EQ(read_plan_file(path.string()).value(), every_field());
  std::filesystem::remove(path);
  EXPECT_FALSE(read_plan_file(path.string()).has_value());
}

// The smallest plan with a JSON merge patch applied: the error and its place.
Error refusal(const std::string& patch) {
  auto json = nlohmann::json::parse(kSmallest);
  json.merge_patch(nlohmann::json::parse(patch));
  const auto file = parse_plan(json.dump(), "p.json");
  return file ? Error{} : file.error();
}

TEST(PlanJson, ErrorsNameTheKeyAndThePlace) {
  struct Case {
    const char* patch;
    const char* where;
    const char* what;
  };
  const Case cases[] = {
      {R"({"schema_version": 2})", "p.json#/schema_version", "outside the range 1 to 1"},
      {R"({"schema_version": null})", "p.json#", "'schema_version' is missing"},
      {R"({"model": null})", "p.json#", "'model' is missing"},
      {R"({"cluster": 3})", "p.json#/cluster", "expected a string"},
      {R"({"moe_dispatch_format": "fp16"})", "p.json#/moe_dispatch_format",
       "unknown format 'fp16' of rows on the wire"},
      {R"({"moe_combine_format": 8})", "p.json#/moe_combine_format", "expected a string"},
      {R"({"comm_sm_share": 0.95})", "p.json#/comm_sm_share", "outside the range 0 to 0.9"},
      {R"({"layout": null})", "p.json#", "'layout' is missing"},
      {R"({"layout": {"dp": null, "tp": 64}})", "p.json#/layout", "'dp' is missing"},
      {R"({"layout": {"tp": 0}})", "p.json#/layout/tp", "outside the range"},
      {R"({"layout": {"pt": 2}})", "p.json#/layout/pt", "did you mean"},
      {R"({"layout": {"ep": 48}})", "p.json#/layout", "must be a multiple of esp x ep (1 x 48)"},
      {R"({"layout": {"ep": 8, "edp": 4}})", "p.json#/layout", "expert-data-parallel size is 4"},
      {R"({"layout": {"tp": 1048576, "dp": 1048576}})", "p.json#/layout", "tp x cp x dp"},
      {R"({"layout": {"tp": 1048576, "dp": 1048576, "edp": 1}})", "p.json#/layout", "exceeds 1048576 ranks"},
      {R"({"layout": {"order": "tp-cp-ep-dp"}})", "p.json#/layout", "does not name 'pp'"},
      {R"({"layout": {"device_map": [0, 1]}})", "p.json#/layout", "names 2 ranks, the layout has 64"},
      {R"({"layout": {"device_map": [0, -1]}})", "p.json#/layout/device_map/1", "outside the range"},
      {R"({"micro_batc": 1})", "p.json#/micro_batc", "did you mean 'micro_batch'"},
      {R"({"micro_batch": 1.5})", "p.json#/micro_batch", "whole number"},
      {R"({"global_batch": 1e300})", "p.json#/global_batch", "whole number"},
      {R"({"precision": "bf17"})", "p.json#/precision", "did you mean 'bf16'"},
      {R"({"pipeline": "1f1c"})", "p.json#/pipeline", "did you mean '1f1b'"},
      {R"({"all_to_all": "2hd"})", "p.json#/all_to_all", "did you mean '2dh'"},
      {R"({"all_reduce": "rnig"})", "p.json#/all_reduce", "did you mean 'ring'"},
      {R"({"all_reduce": "pairwise"})", "p.json#/all_reduce", "unknown all-reduce algorithm"},
      {R"({"recompute": "ful"})", "p.json#/recompute", "did you mean 'full'"},
      {R"({"zero_dense": 4})", "p.json#/zero_dense", "outside the range 0 to 3"},
      {R"({"capacity_factor": -0.5})", "p.json#/capacity_factor", "outside the range"},
      {R"({"sequence_parallel": 1})", "p.json#/sequence_parallel", "true or false"},
      {R"({"stage_layers": 3})", "p.json#/stage_layers", "expected a list"},
      {R"({"stage_layers": [3, "4"]})", "p.json#/stage_layers/1", "whole number"},
  };
  for (const Case& c : cases) {
    const Error error = refusal(c.patch);
    EXPECT_EQ(error.where, c.where) << c.patch;
    EXPECT_THAT(error.what, HasSubstr(c.what)) << c.patch;
    EXPECT_EQ(error.kind, ErrorKind::kInvalidInput) << c.patch;
  }
}

TEST(PlanJson, TruncatedTextSaysSo) {
  const auto file = parse_plan(kSmallest.substr(0, 60), "p.json");
  ASSERT_FALSE(file.has_value());
  EXPECT_THAT(file.error().what, HasSubstr("not valid JSON"));
  EXPECT_FALSE(parse_plan("[]", "p.json").has_value());
  EXPECT_FALSE(parse_plan("", "p.json").has_value());
}

TEST(PlanJson, SourceNamesThatAreNotUtf8DoNotBreakWriting) {
  PlanFile file = every_field();
  file.model = "caf\xe9.json";
  EXPECT_THAT(plan_to_json(file, 2), HasSubstr("caf\xef\xbf\xbd.json"));
}

}  // namespace
}  // namespace moesim
