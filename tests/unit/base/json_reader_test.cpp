#include "base/json_reader.hpp"

#include <gmock/gmock.h>

#include "base/unit_parser.hpp"

namespace moesim {
namespace {

using ::testing::HasSubstr;

Error error_of(std::string_view text) {
  const auto document = JsonDocument::parse_text(text, "a.json");
  return document ? Error{} : document.error();
}

TEST(JsonReader, ReadsTypedFields) {
  const auto document =
      JsonDocument::parse_text(R"({"n": 3, "x": 0.5, "rate": "450GB/s", "list": [1, 2], "none": null})", "a.json");
  ASSERT_TRUE(document.has_value());
  JsonReader root = document->root();
  EXPECT_EQ(root.required_int("n", 1, 10).value(), 3);
  EXPECT_DOUBLE_EQ(root.required_double("x", 0, 1).value(), 0.5);
  EXPECT_DOUBLE_EQ(root.required_quantity("rate", parse_bytes_per_second)->value(), 450e9);
  EXPECT_EQ(root.required("list")->elements()->size(), 2U);
  EXPECT_FALSE(root.optional("none").has_value());
  EXPECT_TRUE(root.reject_unknown_keys().has_value());
}

TEST(JsonReader, ErrorsNameThePlace) {
  const auto document = JsonDocument::parse_text(R"({"links": [{"bandwidth": 900}], "nods": 4})", "c.json");
  ASSERT_TRUE(document.has_value());
  JsonReader root = document->root();
  auto links = root.required("links")->elements();
  const auto rate = links->front().required_quantity("bandwidth", parse_bytes_per_second);
  ASSERT_FALSE(rate.has_value());
  EXPECT_EQ(rate.error().where, "c.json#/links/0/bandwidth");
  const auto nodes = root.required_int("nodes", 1, 8);
  ASSERT_FALSE(nodes.has_value());
  EXPECT_THAT(nodes.error().hint, HasSubstr("'nods'"));
  EXPECT_THAT(root.reject_unknown_keys().error().what, HasSubstr("did you mean 'nodes'"));
}

TEST(JsonReader, RangesAndTypesAreChecked) {
  const auto document = JsonDocument::parse_text(R"({"a": 0, "b": -1, "c": 1.5, "d": "x", "e": 1e30})", "a.json");
  JsonReader root = document->root();
  for (const char* key : {"a", "b", "c", "d", "e"}) EXPECT_FALSE(root.required_int(key, 1, 100).has_value()) << key;
}

TEST(JsonReader, MalformedTextIsAnError) {
  EXPECT_THAT(error_of(R"({"a": [1, 2)").hint, HasSubstr("ends too early"));
  EXPECT_THAT(error_of("").what, HasSubstr("empty"));
  EXPECT_THAT(error_of("{\"a\": 1,\n\"b\": x}").where, HasSubstr("a.json:2"));
  EXPECT_THAT(error_of(R"({"a": 1, "a": 2})").what, HasSubstr("appears twice"));
  EXPECT_THAT(error_of(std::string(1000, '[')).what, HasSubstr("levels deep"));
  EXPECT_THAT(error_of("{\"a\": \"\xFF\"}").what, HasSubstr("UTF-8"));
}

}  // namespace
}  // namespace moesim
