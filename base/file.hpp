// Files at the border: bounded reading, and writing that leaves either the whole file or the old one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace moesim {

// The whole file as bytes; an error when it is missing, unreadable, a folder or larger than `limit`.
[[nodiscard]] Result<std::string> read_file(const std::string& path, std::uint64_t limit_bytes);

// The same, and the text must be UTF-8 (a byte-order mark is dropped; UTF-16 is named in the error).
[[nodiscard]] Result<std::string> read_text_file(const std::string& path, std::uint64_t limit_bytes);

// Writes to a temporary name beside `path` and renames it, so that a reader never sees half a file.
[[nodiscard]] Status write_file_atomically(const std::string& path, std::string_view content);

enum class Temporary : std::uint8_t {
  kUnnamed,  // disappears with the process, however that ends
  kNamed,    // for libraries that open the file themselves
};

// A file written piece by piece and published by commit(); the destructor of an uncommitted one removes it. A device or a
// pipe is written straight: a file renamed over /dev/null would replace it.
class AtomicFile {
 public:
  [[nodiscard]] static Result<AtomicFile> create(const std::string& path, Temporary temporary = Temporary::kUnnamed);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  [[nodiscard]] Status write(std::string_view piece);  // buffered
  [[nodiscard]] Status commit();
  // Where the content stands until then; of named ones alone.
  [[nodiscard]] const std::string& temporary_path() const { return temporary_; }

 private:
  enum class Target : std::uint8_t { kReplaced, kWrittenStraight };
  AtomicFile(std::string path, std::string temporary, int descriptor, Target target);
  [[nodiscard]] Status flush();
  [[nodiscard]] Status give_name();

  std::string path_;
  std::string temporary_;  // empty: it has no name
  std::string buffer_;
  int descriptor_ = -1;
  Target target_;
};

}  // namespace moesim
