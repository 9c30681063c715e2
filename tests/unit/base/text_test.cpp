#include "base/text.hpp"

#include <gtest/gtest.h>

#include <array>

namespace moesim {
namespace {

TEST(Text, SuggestsCloseSpellings) {
  const std::array<std::string, 3> names = {"mixtral-8x7b", "deepseek-v3", "olmoe"};
  EXPECT_EQ(closest_spelling("mixtral-8x7B", names), "mixtral-8x7b");
  EXPECT_EQ(closest_spelling("deepseekv3", names), "deepseek-v3");
  EXPECT_EQ(closest_spelling("llama", names), "");
  EXPECT_EQ(closest_spelling("rnak", std::vector<std::string>{"rank"}), "rank");  // neighbours swapped count once
}

TEST(Text, Utf8) {
  EXPECT_TRUE(is_utf8("plain, µs, 模型"));
  for (const char* bad : {"\xFF", "\xC0\x80", "\xED\xA0\x80", "\xE2\x82", "\xF4\x90\x80\x80"})
    EXPECT_FALSE(is_utf8(bad));
}

TEST(Text, Humanized) {
  EXPECT_EQ(humanize(Bytes(512)), "512 B");
  EXPECT_EQ(humanize(Bytes(1'610'612'736)), "1.50 GiB");
  EXPECT_EQ(humanize(Seconds(0.00231)), "2.31 ms");
  EXPECT_EQ(humanize(BytesPerSecond(450e9)), "450 GB/s");
}

}  // namespace
}  // namespace moesim
