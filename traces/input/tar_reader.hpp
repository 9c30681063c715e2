// The regular files of a tar archive (ustar, GNU and pax names), one after the other, each read whole.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.hpp"
#include "traces/input/input_stream.hpp"

namespace moesim {

struct TarEntry {
  std::string name;  // with its folders
  std::string content;
};

class TarReader {
 public:
  // Files larger than `limit` bytes are errors.
  TarReader(InputStream& stream, std::uint64_t limit) : stream_(stream), limit_(limit) {}
  [[nodiscard]] Result<bool> next(TarEntry& entry);  // false at the end

  [[nodiscard]] static bool recognises(std::string_view head);

 private:
  [[nodiscard]] Status read_content(std::uint64_t size, std::string& content);

  InputStream& stream_;
  std::uint64_t limit_;
};

}  // namespace moesim
