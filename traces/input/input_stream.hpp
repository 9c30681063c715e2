// A buffered reader over a ByteSource: look ahead, lines with their numbers, or plain bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "traces/input/byte_source.hpp"

namespace moesim {

class InputStream {
 public:
  InputStream(std::unique_ptr<ByteSource> source, std::string name);
  // A file ("-" is standard input), decompressed by its content.
  [[nodiscard]] static Result<InputStream> open(const std::string& path);

  [[nodiscard]] const std::string& name() const { return name_; }

  // The next `size` bytes, fewer at the end, without consuming them. Valid until the next call.
  [[nodiscard]] Result<std::string_view> peek(std::size_t size);

  // Text only: drops a byte-order mark; UTF-16 and binary data (zero bytes) are errors.
  [[nodiscard]] Status begin_text();

  // The next line without its end (LF or CRLF); false at the end of the input. The view is valid until the next call.
  // A line longer than 64 MiB is an error.
  [[nodiscard]] Result<bool> next_line(std::string_view& line);
  [[nodiscard]] std::uint64_t line_number() const { return line_; }  // of the line last returned, from 1
  [[nodiscard]] std::string place() const;                           // file:line

  [[nodiscard]] Result<std::size_t> read(std::span<char> target);   // fills `target` unless the input ends
  [[nodiscard]] Result<std::string> read_all(std::uint64_t limit);  // an error beyond `limit` bytes

 private:
  [[nodiscard]] Result<bool> fill();  // appends to the buffer; false at the end of the source
  [[nodiscard]] std::string_view buffered() const { return {buffer_.data() + begin_, end_ - begin_}; }

  std::unique_ptr<ByteSource> source_;
  std::string name_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::uint64_t line_ = 0;
};

}  // namespace moesim
