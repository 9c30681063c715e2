// Where a timeline's text goes: a file that is complete or not there, compressed as its name says.
// ".gz": gzip without a time stamp, ".zst": zstd, anything else: as it is.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/file.hpp"

namespace moesim {

class TraceSink {
 public:
  [[nodiscard]] static Result<TraceSink> create(const std::string& path);
  TraceSink(TraceSink&&) noexcept;
  TraceSink& operator=(TraceSink&&) = delete;
  ~TraceSink();

  [[nodiscard]] Status write(std::string_view text);
  [[nodiscard]] Status commit();

 private:
  class Compressor;
  class GzipCompressor;
  class ZstdCompressor;
  TraceSink(AtomicFile file, std::unique_ptr<Compressor> compressor);

  AtomicFile file_;
  std::unique_ptr<Compressor> compressor_;  // null: plain
};

}  // namespace moesim
