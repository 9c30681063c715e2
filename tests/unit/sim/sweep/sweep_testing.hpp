// A small sweep and a folder of its own for each test.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/file.hpp"
#include "sim/sweep/run.hpp"
#include "sim/sweep/spec.hpp"

namespace moesim {

// 12 points on 8 devices; those with tp 3 do not divide the world.
inline constexpr const char* kSmallSweep = R"({
  "schema_version": 1,
  "base": {"model": "zoo:olmoe-1b-7b", "cluster": "preset:h100", "nodes": 1, "seq_length": 512, "global_batch": 16},
  "axes": {"tp": [1, 2, 3], "ep": "2:4:x2", "micro_batch": [1, 2]}
})";

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "moesim-sweep-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline std::string content_of(const std::string& path) {
  const auto content = read_file(path, 1 << 26);
  EXPECT_TRUE(content.has_value()) << path;
  return content.value_or("");
}

inline SweepSpec small_sweep() {
  auto spec = SweepSpec::parse(kSmallSweep, "small.json");
  EXPECT_TRUE(spec.has_value()) << spec.error().where << spec.error().what;
  return spec ? *spec : SweepSpec::empty();
}

inline SweepOptions options_to(const std::string& output) {
  SweepOptions options;
  options.output = output;
  options.tool = {"moesim", "1", "test"};
  return options;
}

inline Result<SweepSummary> run_alone(const SweepSpec& spec, const SweepOptions& options) {
  SerialTransport transport;
  return run_sweep(spec, options, transport);
}

}  // namespace moesim
