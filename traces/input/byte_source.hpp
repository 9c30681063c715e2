// Where the bytes of a trace come from: a file, memory, or one of these behind a decompressor. Read forward only.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace moesim {

class ByteSource {
 public:
  ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;
  virtual ~ByteSource() = default;
  // Up to target.size() bytes; 0 at the end.
  [[nodiscard]] virtual Result<std::size_t> read(std::span<char> target) = 0;
};

[[nodiscard]] Result<std::unique_ptr<ByteSource>> open_file_source(const std::string& path);

// The memory must outlive the source.
[[nodiscard]] std::unique_ptr<ByteSource> make_memory_source(std::string_view content);

// Looks at the first bytes: zstd and gzip data come out decompressed, everything else as it is. `name` is for errors.
[[nodiscard]] Result<std::unique_ptr<ByteSource>> decompressed(std::unique_ptr<ByteSource> source, std::string name);

}  // namespace moesim
