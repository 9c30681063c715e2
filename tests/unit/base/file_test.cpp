#include "base/file.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace moesim {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class FileTest : public ::testing::Test {
 protected:
  FileTest()
      : folder_(fs::path(::testing::TempDir()) / ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
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

TEST_F(FileTest, NothingIsSeenBeforeCommit) {
  for (const Temporary temporary : {Temporary::kUnnamed, Temporary::kNamed}) {
    auto file = AtomicFile::create(path("new"), temporary);
    ASSERT_TRUE(file.has_value());
    ASSERT_TRUE(file->write("content").has_value());
    EXPECT_FALSE(fs::exists(path("new")));
    ASSERT_TRUE(file->commit().has_value());
    EXPECT_EQ(read_file(path("new"), 100).value(), "content");
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
    fs::remove(path("new"));
  }
}

// A file renamed over a device or a pipe would replace it: as root, "-o /dev/null" would end the machine's /dev/null.
TEST_F(FileTest, PipesAndDevicesAreWrittenStraight) {
  const std::string pipe = path("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  EXPECT_TRUE(write_file_atomically(pipe, "straight").has_value());
  std::string got(100, '\0');
  got.resize(static_cast<std::size_t>(std::max(ssize_t{0}, ::read(reader, got.data(), got.size()))));
  ::close(reader);
  EXPECT_EQ(got, "straight");
  EXPECT_TRUE(fs::is_fifo(pipe));
  EXPECT_EQ(AtomicFile::create(pipe, Temporary::kNamed).error().kind, ErrorKind::kUsage);
  EXPECT_EQ(AtomicFile::create(folder_.string()).error().kind, ErrorKind::kUsage);
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
