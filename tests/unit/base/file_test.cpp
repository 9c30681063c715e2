#include "base/file.hpp"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

namespace moesim {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class FileTest : public ::testing::Test {
 protected:
  FileTest() : folder_(fs::path(::testing::TempDir()) / ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~FileTest() override { fs::remove_all(folder_); }
  [[nodiscard]] std::string path(const char* name) const { return (folder_ / name).string(); }
  fs::path folder_;
};

TEST_F(FileTest, WritesWholeFilesOnly) {
  ASSERT_TRUE(write_file_atomically(path("a"), "first").has_value());
  {
    auto half = AtomicFile::create(path("a"));
    ASSERT_TRUE(half.has_value());
    ASSERT_TRUE(half->write("half-written").has_value());
  }  // dropped without commit
  EXPECT_EQ(read_file(path("a"), 100).value(), "first");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);  // no temporary left behind
}

TEST_F(FileTest, ReadingIsBoundedAndSaysWhy) {
  ASSERT_TRUE(write_file_atomically(path("big"), std::string(100, 'x')).has_value());
  EXPECT_THAT(read_file(path("big"), 99).error().what, HasSubstr("limit"));
  EXPECT_THAT(read_file(path("missing"), 99).error().what, HasSubstr("No such file"));
  EXPECT_THAT(read_file(folder_.string(), 99).error().what, HasSubstr("folder"));
}

TEST_F(FileTest, OtherEncodingsAreNamed) {
  ASSERT_TRUE(write_file_atomically(path("utf16"), std::string("\xFF\xFEh\0", 4)).has_value());
  EXPECT_THAT(read_text_file(path("utf16"), 99).error().what, HasSubstr("UTF-16"));
  ASSERT_TRUE(write_file_atomically(path("bom"), "\xEF\xBB\xBFtext").has_value());
  EXPECT_EQ(read_text_file(path("bom"), 99).value(), "text");
}

TEST_F(FileTest, UnwritableFolderIsAnError) {
  const auto status = write_file_atomically(path("no/such/folder/a"), "x");
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().kind, ErrorKind::kInternal);
}

}  // namespace
}  // namespace moesim
