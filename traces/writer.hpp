// Writing our two canonical forms: rows as CSV (zstd-compressed when the path ends in .zst) and the JSON side file.
//
// Rows are written as they come, so any trace can be converted in bounded memory. Nothing appears under the final names
// before commit().
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/file.hpp"
#include "traces/rows.hpp"
#include "traces/trace_info.hpp"

namespace moesim {

enum class TraceRows : std::uint8_t { kCounts, kTokens };

class TraceWriter : public RowSink {
 public:
  [[nodiscard]] static Result<std::unique_ptr<TraceWriter>> create(const std::string& path, TraceRows rows);
  ~TraceWriter() override;

  // Rows of the other kind are ignored, so that a writer may stand at both outputs of an import.
  [[nodiscard]] Status counts(const CountRow& row) override;
  [[nodiscard]] Status token(const TokenRow& row) override;
  // Publishes PATH and PATH.json; an error when no row came.
  [[nodiscard]] Status commit(const TraceInfo& info);

 private:
  class Compressor;
  TraceWriter(std::string path, TraceRows rows, AtomicFile file);
  void begin_row(const RowKey& key, std::string_view header_middle, std::string_view prefix, std::size_t numbered);
  [[nodiscard]] Status flush_if_full();
  [[nodiscard]] Status write_out(bool last);

  std::string path_;
  TraceRows rows_;
  AtomicFile file_;
  std::unique_ptr<Compressor> compressor_;  // null: plain text
  std::string buffer_;
  bool any_ = false;
};

}  // namespace moesim
