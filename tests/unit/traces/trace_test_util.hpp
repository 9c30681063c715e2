// Files in a folder of their own, and rows collected for comparison.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "traces/import.hpp"

namespace moesim {

class TempFolder {
 public:
  TempFolder() {
    std::string name = testing::TempDir() + "moesim_traces.XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  [[nodiscard]] std::string path(const std::string& name = {}) const {
    return name.empty() ? path_ : path_ + "/" + name;
  }
  std::string write(const std::string& name, std::string_view content) const {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    std::ofstream(path(name), std::ios::binary) << content;
    return path(name);
  }

 private:
  std::string path_;
};

inline std::vector<std::uint32_t> row_of(const SelectionTrace& trace, int step, int layer, int micro_batch, int rank) {
  const auto row = trace.counts(step, layer, micro_batch, rank);
  return {row.begin(), row.end()};
}

inline std::string describe(const Error& error) { return error.what + " @ " + error.where + " ! " + error.hint; }

// The trace, or a failed test with the error's text.
inline SelectionTrace load_or_fail(const std::string& path, const ImportOptions& options = {}) {
  auto loaded = load_trace(path, options);
  if (!loaded) {
    ADD_FAILURE() << describe(loaded.error());
    return {};
  }
  return std::move(loaded->trace);
}

inline Error error_of(const std::string& path, const ImportOptions& options = {}) {
  auto loaded = load_trace(path, options);
  if (!loaded) return loaded.error();
  ADD_FAILURE() << "expected an error from " << path;
  return {};
}

}  // namespace moesim
