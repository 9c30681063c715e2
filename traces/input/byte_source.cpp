#include "traces/input/byte_source.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

namespace moesim {
namespace {

constexpr std::size_t kCompressedChunk = 1 << 17;
constexpr std::size_t kMagicBytes = 4;

class FileSource : public ByteSource {
 public:
  FileSource(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  ~FileSource() override { ::close(descriptor_); }

  Result<std::size_t> read(std::span<char> target) override {
    while (true) {
      const ssize_t got = ::read(descriptor_, target.data(), target.size());
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno != EINTR)
        return fail(ErrorKind::kInternal, fmt::format("cannot read: {}", std::strerror(errno)), path_);
    }
  }

 private:
  int descriptor_;
  std::string path_;
};

class MemorySource : public ByteSource {
 public:
  explicit MemorySource(std::string_view content) : rest_(content) {}
  Result<std::size_t> read(std::span<char> target) override {
    const std::size_t got = std::min(target.size(), rest_.size());
    std::copy_n(rest_.data(), got, target.data());
    rest_.remove_prefix(got);
    return got;
  }

 private:
  std::string_view rest_;
};

// Gives back the bytes that were looked at, then goes on with the source.
class PrefixedSource : public ByteSource {
 public:
  PrefixedSource(std::string prefix, std::unique_ptr<ByteSource> rest)
      : prefix_(std::move(prefix)), rest_(std::move(rest)) {}
  Result<std::size_t> read(std::span<char> target) override {
    if (used_ == prefix_.size()) return rest_->read(target);
    const std::size_t got = std::min(target.size(), prefix_.size() - used_);
    std::copy_n(prefix_.data() + used_, got, target.data());
    used_ += got;
    return got;
  }

 private:
  std::string prefix_;
  std::size_t used_ = 0;
  std::unique_ptr<ByteSource> rest_;
};

class ZstdSource : public ByteSource {
 public:
  ZstdSource(std::unique_ptr<ByteSource> compressed, std::string name)
      : compressed_(std::move(compressed)), name_(std::move(name)), chunk_(kCompressedChunk) {}

  Result<std::size_t> read(std::span<char> target) override {
    ZSTD_outBuffer out{target.data(), target.size(), 0};
    while (out.pos == 0) {
      if (in_.pos == in_.size) {
        MOESIM_ASSIGN(const std::size_t got, compressed_->read(chunk_));
        if (got == 0 && frame_open_) return invalid_input("zstd data ends too early", name_, "is the file complete?");
        if (got == 0) return std::size_t{0};
        in_ = {chunk_.data(), got, 0};
      }
      const std::size_t state = ZSTD_decompressStream(stream_.get(), &out, &in_);
      if (ZSTD_isError(state) != 0)
        return invalid_input(fmt::format("broken zstd data: {}", ZSTD_getErrorName(state)), name_);
      frame_open_ = state != 0;
    }
    return out.pos;
  }

 private:
  struct FreeStream {
    void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
  };
  std::unique_ptr<ByteSource> compressed_;
  std::string name_;
  std::vector<char> chunk_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  bool frame_open_ = false;
  std::unique_ptr<ZSTD_DStream, FreeStream> stream_{ZSTD_createDStream()};
};

class GzipSource : public ByteSource {
 public:
  GzipSource(std::unique_ptr<ByteSource> compressed, std::string name)
      : compressed_(std::move(compressed)), name_(std::move(name)), chunk_(kCompressedChunk) {
    constexpr int kGzipOnly = 16;
    MOESIM_ASSERT(inflateInit2(&stream_, MAX_WBITS + kGzipOnly) == Z_OK);
  }
  ~GzipSource() override { inflateEnd(&stream_); }

  Result<std::size_t> read(std::span<char> target) override {
    const auto wanted = static_cast<uInt>(std::min<std::size_t>(target.size(), 1U << 30));
    stream_.next_out = reinterpret_cast<Bytef*>(target.data());
    stream_.avail_out = wanted;
    while (stream_.avail_out == wanted) {
      if (stream_.avail_in == 0) {
        MOESIM_ASSIGN(const std::size_t got, compressed_->read(chunk_));
        if (got == 0 && member_open_) return invalid_input("gzip data ends too early", name_, "is the file complete?");
        if (got == 0) return std::size_t{0};
        stream_.next_in = reinterpret_cast<Bytef*>(chunk_.data());
        stream_.avail_in = static_cast<uInt>(got);
      }
      if (!member_open_) inflateReset(&stream_);  // gzip files may hold several members
      member_open_ = true;
      const int state = inflate(&stream_, Z_NO_FLUSH);
      if (state == Z_STREAM_END)
        member_open_ = false;
      else if (state != Z_OK && state != Z_BUF_ERROR)
        return invalid_input("broken gzip data", name_);
    }
    return static_cast<std::size_t>(wanted - stream_.avail_out);
  }

 private:
  std::unique_ptr<ByteSource> compressed_;
  std::string name_;
  std::vector<char> chunk_;
  z_stream stream_{};
  bool member_open_ = false;
};

}  // namespace

Result<std::unique_ptr<ByteSource>> open_file_source(const std::string& path) {
  const int descriptor = path == "-" ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return invalid_input(fmt::format("cannot open: {}", std::strerror(errno)), path);
  auto source = std::make_unique<FileSource>(descriptor, path);
  struct stat status {};
  if (::fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode))
    return invalid_input("is a folder, not a file", path);
  return source;
}

std::unique_ptr<ByteSource> make_memory_source(std::string_view content) {
  return std::make_unique<MemorySource>(content);
}

Result<std::unique_ptr<ByteSource>> decompressed(std::unique_ptr<ByteSource> source, std::string name) {
  std::string head;
  while (head.size() < kMagicBytes) {
    std::array<char, kMagicBytes> piece{};
    MOESIM_ASSIGN(const std::size_t got, source->read(std::span(piece).first(kMagicBytes - head.size())));
    if (got == 0) break;
    head.append(piece.data(), got);
  }
  const bool zstd = head == "\x28\xB5\x2F\xFD";
  const bool gzip = head.starts_with("\x1F\x8B");
  std::unique_ptr<ByteSource> whole = std::make_unique<PrefixedSource>(std::move(head), std::move(source));
  if (zstd) return std::make_unique<ZstdSource>(std::move(whole), std::move(name));
  if (gzip) return std::make_unique<GzipSource>(std::move(whole), std::move(name));
  return whole;
}

}  // namespace moesim
