// The examples of docs/inputs-cluster.md are files that work.
#include <gtest/gtest.h>

#include "base/file.hpp"
#include "tests/unit/cluster/cluster_testing.hpp"

namespace moesim {
namespace {

TEST(DocumentedClusters, EachExampleCompiles) {
  const auto text = read_text_file(std::string(MOESIM_SOURCE_DIR) + "/docs/inputs-cluster.md", 1 << 20);
  ASSERT_TRUE(text) << text.error().what;
  constexpr std::string_view kOpen = "```json\n";
  int examples = 0;
  for (auto at = text->find(kOpen); at != std::string::npos; at = text->find(kOpen, at)) {
    at += kOpen.size();
    const std::string example = text->substr(at, text->find("```", at) - at);
    if (example.find("\"name\"") == std::string::npos) continue;  // a fragment
    ++examples;
    EXPECT_EQ(complaint(example), "") << example;
  }
  EXPECT_EQ(examples, 2);
}

}  // namespace
}  // namespace moesim
