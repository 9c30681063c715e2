#include "sim/settings/settings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace moesim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Error error_of(std::string_view text) {
  const auto layer = parse_settings(text, "moesim.toml");
  return layer ? Error{} : layer.error();
}

TEST(SettingsFile, GivesValuesAsOnACommandLineWithTheirPlaces) {
  const auto layer = parse_settings("# mine\nquiet = true\nnodes = 8\n\nmodel = \"zoo:mixtral-8x7b\"\n", "moesim.toml");
  ASSERT_TRUE(layer.has_value()) << layer.error().what;
  ASSERT_EQ(layer->size(), 3U);  // in the order of known_settings()
  EXPECT_EQ((*layer)[0].key, "model");
  EXPECT_THAT((*layer)[0].values, ElementsAre("zoo:mixtral-8x7b"));
  EXPECT_EQ((*layer)[0].where, "moesim.toml:5");
  EXPECT_THAT((*layer)[1].values, ElementsAre("8"));
  EXPECT_THAT((*layer)[2].values, ElementsAre("true"));
  EXPECT_EQ((*layer)[2].where, "moesim.toml:2");
}

TEST(SettingsFile, PathsCountFromItsFolder) {
  const auto layer = parse_settings("cluster = \"mine.json\"\nprofile = [\"p/a.json\", \"/b.json\", \"shipped:c\"]\n",
                                    "/etc/x/moesim.toml");
  ASSERT_TRUE(layer.has_value());
  EXPECT_THAT((*layer)[0].values, ElementsAre("/etc/x/mine.json"));
  EXPECT_THAT((*layer)[1].values, ElementsAre("/etc/x/p/a.json", "/b.json", "shipped:c"));
  const auto here = parse_settings("cluster = \"mine.json\"", "moesim.toml");
  EXPECT_THAT(here->front().values, ElementsAre("mine.json"));
}

TEST(SettingsFile, ErrorsNameLineAndKey) {
  const Error unknown = error_of("nodes = 1\nclutser = \"x\"\n");
  EXPECT_EQ(unknown.kind, ErrorKind::kInvalidInput);
  EXPECT_EQ(unknown.where, "moesim.toml:2");
  EXPECT_EQ(unknown.what, "unknown setting 'clutser' (did you mean 'cluster'?)");
  EXPECT_EQ(error_of("\nnodes = 1.5").what, "nodes should be a whole number, not a number with a fraction");
  EXPECT_EQ(error_of("\nnodes = 1.5").where, "moesim.toml:2");
  EXPECT_EQ(error_of("quiet = 1").what, "quiet should be true or false, not a whole number");
  EXPECT_EQ(error_of("color = true").what, "color should be a word in quotes, not true or false");
  EXPECT_EQ(error_of("model = [\"a\"]").what, "model should be a name in quotes, not a list");
  EXPECT_EQ(error_of("profile = [\"a\",\n 3]").what,
            "profile should be a name in quotes or a list of them, not a whole number");
  EXPECT_EQ(error_of("model = \"\"").what, "model is empty");
  EXPECT_EQ(error_of("nodes = 1\nnodes = 2").where, "moesim.toml:2");
  EXPECT_EQ(error_of("nodes = ").kind, ErrorKind::kInvalidInput);
  EXPECT_EQ(error_of("nodes = 99999999999999999999").kind, ErrorKind::kInvalidInput);
}

TEST(SettingsEnvironment, TakesItsOwnVariables) {
  const std::vector<std::string> lines = {
      "PATH=/bin",       "MOESIM_PROFILE=a.json, shipped:b", "MOESIM_QUIET=0", "MOESIM_MODEL=", "MOESIM_JOBS=4",
      "MOESIM_CLUSTRE=x"};
  const auto found = environment_settings(lines);
  ASSERT_TRUE(found.has_value());
  ASSERT_EQ(found->layer.size(), 3U);  // an empty one counts as absent
  EXPECT_EQ(found->layer[0].where, "MOESIM_PROFILE");
  EXPECT_THAT(found->layer[0].values, ElementsAre("a.json", "shipped:b"));
  EXPECT_THAT(found->layer[1].values, ElementsAre("4"));
  EXPECT_THAT(found->layer[2].values, ElementsAre("false"));
  EXPECT_THAT(found->unknown,
              ElementsAre("the variable MOESIM_CLUSTRE is no setting (did you mean 'MOESIM_CLUSTER'?)"));
}

TEST(SettingsEnvironment, ErrorsNameTheVariable) {
  for (const char* line : {"MOESIM_NODES=four", "MOESIM_NODES=4x", "MOESIM_NODES=99999999999999999999",
                           "MOESIM_QUIET=perhaps", "MOESIM_PROFILE=a,,b"}) {
    const auto found = environment_settings(std::vector<std::string>{line});
    ASSERT_FALSE(found.has_value()) << line;
    EXPECT_EQ(found.error().kind, ErrorKind::kInvalidInput);
    EXPECT_THAT(std::string(line), HasSubstr(found.error().where));
    EXPECT_FALSE(found.error().where.empty());
  }
}

TEST(Settings, TheFirstLayerThatHasAKeyWins) {
  const SettingLayer near = {{"nodes", {"1"}, "near"}};
  const SettingLayer far = {{"cluster", {"x"}, "far"}, {"nodes", {"2"}, "far"}};
  const SettingLayer merged = merge_settings(std::vector<SettingLayer>{near, far});
  ASSERT_EQ(merged.size(), 2U);
  EXPECT_EQ(merged[0].where, "far");
  EXPECT_EQ(merged[1].where, "near");
  EXPECT_THAT(merge_settings({}), IsEmpty());
}

}  // namespace
}  // namespace moesim
