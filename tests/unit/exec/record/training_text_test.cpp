#include "exec/record/training_text.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <vector>

#include "sim/report/sha256.hpp"

namespace moesim {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

TEST(TrainingText, IsOfOneSizePrintableAndNotRepeated) {
  const std::string text = bundled_text();
  EXPECT_EQ(text.size(), kBundledTextBytes);
  EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); }));
  // As the side files of the bundled traces have it.
  EXPECT_EQ(sha256_hex(text), "08cfbc50f17d1e5390f986c251c8cb4090cfe56f69ce7db7e3622040a740d207");
  EXPECT_EQ(text.find(text.substr(0, 200), 200), std::string::npos);
}

TEST(TrainingText, TheSameNumberGivesTheSameDocument) {
  for (int kind = 0; kind < kTextKinds; ++kind) {
    const auto each = static_cast<TextKind>(kind);
    EXPECT_EQ(text_document(each, 7), text_document(each, 7));
    EXPECT_NE(text_document(each, 7), text_document(each, 8));
    EXPECT_EQ(text_document(each, 7).back(), '\n');
  }
}

TEST(TrainingText, ArithmeticIsRight) {
  std::set<char> operators;
  for (std::uint64_t number = 0; number < 20; ++number)
    for (const std::string& line : lines_of(text_document(TextKind::kArithmetic, number))) {
      std::istringstream words(line);
      int a = 0, b = 0, c = 0;
      char sign = 0, equals = 0;
      ASSERT_TRUE(words >> a >> sign >> b >> equals >> c) << line;
      operators.insert(sign);
      EXPECT_EQ(c, sign == '+' ? a + b : sign == '-' ? a - b : a * b) << line;
    }
  EXPECT_EQ(operators, (std::set<char>{'+', '-', 'x'}));
}

TEST(TrainingText, TablesEndWithTheSumOfTheirRows) {
  const std::vector<std::string> lines = lines_of(text_document(TextKind::kTable, 3));
  EXPECT_EQ(lines.front().substr(0, 6), "id,day");
  for (std::size_t i = 1; i < lines.size(); ++i) {
    std::vector<int> cells;
    std::istringstream row(lines[i]);
    for (std::string cell; std::getline(row, cell, ',');) cells.push_back(std::stoi(cell));
    int sum = 0;
    for (std::size_t c = 2; c + 1 < cells.size(); ++c) sum += cells[c];
    EXPECT_EQ(cells.back(), sum) << lines[i];
  }
}

TEST(TrainingText, BracketsCloseInOrder) {
  for (std::uint64_t number = 0; number < 20; ++number) {
    std::string open;
    for (const char c : text_document(TextKind::kBrackets, number)) {
      constexpr std::string_view kOpen = "([{<", kClose = ")]}>";
      if (const std::size_t i = kOpen.find(c); i != std::string_view::npos) {
        open += kClose[i];
      } else if (c != '\n') {
        ASSERT_FALSE(open.empty());
        EXPECT_EQ(open.back(), c);
        open.pop_back();
      }
    }
    EXPECT_EQ(open, "");
  }
}

}  // namespace
}  // namespace moesim
