#include "base/csv.hpp"

#include <gmock/gmock.h>

namespace moesim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Csv, ReadsQuotesAndLineEnds) {
  auto reader = CsvReader::from_text("\xEF\xBB\xBFid,note,n\r\n1,\"a, \"\"b\"\"\nc\",2.5\r\n\n2,,\n", "x.csv");
  ASSERT_TRUE(reader.has_value());
  EXPECT_THAT(reader->columns(), ElementsAre("id", "note", "n"));
  ASSERT_TRUE(reader->next().value());
  EXPECT_EQ(reader->text("note"), "a, \"b\"\nc");
  EXPECT_EQ(reader->number("n").value(), 2.5);
  EXPECT_EQ(reader->integer("id").value(), 1);
  EXPECT_EQ(reader->place(), "x.csv:2");
  ASSERT_TRUE(reader->next().value());
  EXPECT_EQ(reader->place(), "x.csv:5");
  EXPECT_EQ(reader->text("note"), "");
  EXPECT_FALSE(reader->number("n").value().has_value());
  EXPECT_FALSE(reader->next().value());
}

TEST(Csv, EmptyQuotedFieldAndLastRowWithoutLineEnd) {
  auto reader = CsvReader::from_text("a,b\n\"\",\"\"\"\"", "x.csv");
  ASSERT_TRUE(reader->next().value());
  EXPECT_EQ(reader->text("a"), "");
  EXPECT_EQ(reader->text("b"), "\"");
  EXPECT_EQ(reader->text("absent"), "");
  EXPECT_FALSE(reader->next().value());
}

TEST(Csv, ErrorsNameTheLine) {
  EXPECT_THAT(CsvReader::from_text("", "x.csv").error().what, HasSubstr("empty"));
  EXPECT_FALSE(CsvReader::open("/nonexistent.csv").has_value());
  auto reader = CsvReader::from_text("a,b\n1\n", "x.csv");
  EXPECT_EQ(reader->next().error().where, "x.csv:2");
  auto open = CsvReader::from_text("a,b\n1,\"2\n", "x.csv");
  EXPECT_THAT(open->next().error().what, HasSubstr("quoted"));
  auto bad = CsvReader::from_text("a,b\nx,1.5\n", "x.csv");
  ASSERT_TRUE(bad->next().value());
  EXPECT_FALSE(bad->number("a").has_value());
  EXPECT_FALSE(bad->integer("b").has_value());
  auto zero = CsvReader::from_text(std::string("a\n\0b\n", 5), "x.csv");
  EXPECT_THAT(zero->next().error().what, HasSubstr("zero byte"));
  auto endless = CsvReader::from_text("a\n\"" + std::string(2 << 20, 'x'), "x.csv");
  EXPECT_THAT(endless->next().error().what, HasSubstr("1 MiB"));
}

}  // namespace
}  // namespace moesim
