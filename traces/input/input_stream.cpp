#include "traces/input/input_stream.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace moesim {
namespace {

constexpr std::size_t kFirstBuffer = 1 << 18;
constexpr std::size_t kLongestLine = 64 << 20;
constexpr std::size_t kTextProbe = 4096;

}  // namespace

InputStream::InputStream(std::unique_ptr<ByteSource> source, std::string name)
    : source_(std::move(source)), name_(std::move(name)), buffer_(kFirstBuffer) {}

Result<InputStream> InputStream::open(const std::string& path) {
  MOESIM_ASSIGN(auto file, open_file_source(path));
  const std::string name = path == "-" ? "standard input" : path;
  MOESIM_ASSIGN(auto source, decompressed(std::move(file), name));
  return InputStream(std::move(source), name);
}

Result<bool> InputStream::fill() {
  if (begin_ > 0 && end_ == buffer_.size()) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ == buffer_.size()) buffer_.resize(buffer_.size() * 2);
  MOESIM_ASSIGN(const std::size_t got, source_->read(std::span(buffer_).subspan(end_)));
  end_ += got;
  return got > 0;
}

Result<std::string_view> InputStream::peek(std::size_t size) {
  while (end_ - begin_ < size) {
    MOESIM_ASSIGN(const bool more, fill());
    if (!more) break;
  }
  return buffered().substr(0, size);
}

Status InputStream::begin_text() {
  MOESIM_ASSIGN(const std::string_view head, peek(kTextProbe));
  if (head.starts_with("\xFF\xFE") || head.starts_with("\xFE\xFF"))
    return invalid_input("file is UTF-16", name_, "save it as UTF-8");
  if (head.find('\0') != std::string_view::npos)
    return invalid_input("expected text, found binary data", name_, "see docs/traces.md for the formats that are read");
  if (head.starts_with("\xEF\xBB\xBF")) begin_ += 3;
  return {};
}

Result<bool> InputStream::next_line(std::string_view& line) {
  std::size_t searched = 0;
  while (true) {
    const std::string_view rest = buffered();
    const std::size_t newline = rest.find('\n', searched);
    const bool found = newline != std::string_view::npos;
    if (!found) {
      searched = rest.size();
      if (searched > kLongestLine)
        return invalid_input(fmt::format("line is longer than {} MiB", kLongestLine >> 20),
                             fmt::format("{}:{}", name_, line_ + 1));
      MOESIM_ASSIGN(const bool more, fill());
      if (more) continue;
      if (rest.empty()) return false;
    }
    line = found ? rest.substr(0, newline) : buffered();
    begin_ += line.size() + (found ? 1 : 0);
    if (line.ends_with('\r')) line.remove_suffix(1);
    ++line_;
    return true;
  }
}

std::string InputStream::place() const { return fmt::format("{}:{}", name_, line_); }

Result<std::size_t> InputStream::read(std::span<char> target) {
  std::size_t done = std::min(target.size(), end_ - begin_);
  std::copy_n(buffer_.data() + begin_, done, target.data());
  begin_ += done;
  while (done < target.size()) {
    MOESIM_ASSIGN(const std::size_t got, source_->read(target.subspan(done)));
    if (got == 0) break;
    done += got;
  }
  return done;
}

Result<std::string> InputStream::read_all(std::uint64_t limit) {
  std::string content(buffered());
  begin_ = end_;
  while (true) {
    if (content.size() > limit)
      return invalid_input(fmt::format("input is larger than the limit of {} MiB", limit >> 20), name_);
    MOESIM_ASSIGN(const bool more, fill());
    if (!more) return content;
    content.append(buffered());
    begin_ = end_;
  }
}

}  // namespace moesim
