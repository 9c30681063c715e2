// Runs every case of cases/ as a test of its own.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

#include "case_match.hpp"

namespace moesim {
namespace {

namespace fs = std::filesystem;

std::optional<std::string> content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(MOESIM_CASES_DIR))
    if (fs::exists(entry.path() / "cmd")) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

struct Outcome {
  int exit_code = 0;
  std::string out;
  std::string err;
};

// In a new folder below the temporary one, with `moesim` first on the path and nothing that changes colours.
Outcome run_case(const fs::path& folder, const std::string& name) {
  const fs::path work = fs::path(testing::TempDir()) / fmt::format("moesim_case_{}_{}", name, ::getpid());
  fs::remove_all(work);
  fs::create_directories(work / "cwd");
  const std::string command = fmt::format(
      "cd '{0}/cwd' && unset NO_COLOR CLICOLOR_FORCE && export TERM=xterm CASE='{1}' SHARED='{2}' PATH='{3}':\"$PATH\" "
      "&& "
      "sh '{1}/cmd' >'{0}/out' 2>'{0}/err' </dev/null",
      work.string(), folder.string(), MOESIM_SHARED_DIR, MOESIM_PROGRAM_DIR);
  const int status = std::system(command.c_str());
  Outcome outcome{WIFEXITED(status) ? WEXITSTATUS(status) : -1, content_of(work / "out").value_or(""),
                  content_of(work / "err").value_or("")};
  fs::remove_all(work);
  return outcome;
}

class CommandCase : public testing::TestWithParam<std::string> {};

TEST_P(CommandCase, BehavesAsWritten) {
  const fs::path folder = fs::path(MOESIM_CASES_DIR) / GetParam();
  const Outcome outcome = run_case(folder, GetParam());
  const std::string both = "--- stdout\n" + outcome.out + "--- stderr\n" + outcome.err;
  EXPECT_EQ(outcome.exit_code, std::atoi(content_of(folder / "exit").value_or("0").c_str())) << both;
  EXPECT_TRUE(matches_text(content_of(folder / "stderr").value_or(""), outcome.err)) << both;
  const std::optional<std::string> json = content_of(folder / "expected.json");
  const std::optional<std::string> text = content_of(folder / "stdout");
  if (json) {
    const nlohmann::json actual = nlohmann::json::parse(outcome.out, nullptr, false);
    ASSERT_FALSE(actual.is_discarded()) << both;
    EXPECT_EQ(json_difference(nlohmann::json::parse(*json), actual), "") << both;
  }
  if (text || !json) {
    EXPECT_TRUE(matches_text(text.value_or(""), outcome.out)) << both;
  }
}

INSTANTIATE_TEST_SUITE_P(Cli, CommandCase, testing::ValuesIn(case_names()), [](const auto& test) {
  std::string name = test.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
});

// The comparison itself: a case that cannot fail would be worth nothing.
TEST(CaseMatch, Text) {
  EXPECT_TRUE(matches_text("a\n...\nd\n", "a\nb\nc\nd\n"));
  EXPECT_TRUE(matches_text("x ... z\n", "x y z\n"));
  EXPECT_FALSE(matches_text("a\n", "a\nb\n"));
  EXPECT_FALSE(matches_text("x ... z\n", "x y\n"));
  EXPECT_FALSE(matches_text("", "a\n"));
}

TEST(CaseMatch, Json) {
  const auto actual = nlohmann::json::parse(R"({"a": 1.0, "b": [1, "x"], "c": null})");
  EXPECT_EQ(json_difference(nlohmann::json::parse(R"({"a": 1.0000001, "b": ["<number>", "x"]})"), actual), "");
  EXPECT_NE(json_difference(nlohmann::json::parse(R"({"a": 1.1})"), actual), "");
  EXPECT_NE(json_difference(nlohmann::json::parse(R"({"d": "<any>"})"), actual), "");
  EXPECT_NE(json_difference(nlohmann::json::parse(R"({"b": [1]})"), actual), "");
  EXPECT_NE(json_difference(nlohmann::json::parse(R"({"c": "<number>"})"), actual), "");
}

}  // namespace
}  // namespace moesim
