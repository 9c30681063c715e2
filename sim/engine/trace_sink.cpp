#include "sim/engine/trace_sink.hpp"

#include <zlib.h>
#include <zstd.h>
#include <array>
#include <utility>

namespace moesim {
namespace {

constexpr std::size_t kOutput = std::size_t{1} << 16;
enum class Flush { kNo, kEnd };

}  // namespace

class TraceSink::Compressor {
 public:
  virtual ~Compressor() = default;
  virtual Status run(std::string_view text, Flush flush, AtomicFile& file) = 0;
};

class TraceSink::GzipCompressor final : public TraceSink::Compressor {
 public:
  GzipCompressor() {
    constexpr int kGzipWindow = 15 + 16;  // the largest window, with a gzip header (whose time zlib leaves at 0)
    constexpr int kMemoryLevel = 8;       // zlib's default
    const int status = deflateInit2(&stream_, Z_BEST_SPEED, Z_DEFLATED, kGzipWindow, kMemoryLevel, Z_DEFAULT_STRATEGY);
    MOESIM_ASSERT(status == Z_OK);
  }
  GzipCompressor(const GzipCompressor&) = delete;
  GzipCompressor& operator=(const GzipCompressor&) = delete;
  ~GzipCompressor() override { deflateEnd(&stream_); }

  Status run(std::string_view text, Flush flush, AtomicFile& file) override {
    // zlib's interface wants a pointer to non-const; it does not write through it.
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream_.avail_in = static_cast<uInt>(text.size());
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(output_.data());
      stream_.avail_out = static_cast<uInt>(output_.size());
      const int status = deflate(&stream_, flush == Flush::kEnd ? Z_FINISH : Z_NO_FLUSH);
      MOESIM_ASSERT(status != Z_STREAM_ERROR);
      MOESIM_TRY(file.write({output_.data(), output_.size() - stream_.avail_out}));
    } while (stream_.avail_out == 0);
    return {};
  }

 private:
  z_stream stream_{};
  std::array<char, kOutput> output_;
};

class TraceSink::ZstdCompressor final : public TraceSink::Compressor {
 public:
  ZstdCompressor() : stream_(ZSTD_createCStream()) { MOESIM_ASSERT(stream_ != nullptr); }
  ZstdCompressor(const ZstdCompressor&) = delete;
  ZstdCompressor& operator=(const ZstdCompressor&) = delete;
  ~ZstdCompressor() override { ZSTD_freeCStream(stream_); }

  Status run(std::string_view text, Flush flush, AtomicFile& file) override {
    ZSTD_inBuffer input{text.data(), text.size(), 0};
    for (;;) {
      ZSTD_outBuffer output{output_.data(), output_.size(), 0};
      const std::size_t left =
          ZSTD_compressStream2(stream_, &output, &input, flush == Flush::kEnd ? ZSTD_e_end : ZSTD_e_continue);
      MOESIM_ASSERT(ZSTD_isError(left) == 0);
      MOESIM_TRY(file.write({output_.data(), output.pos}));
      if (flush == Flush::kEnd ? left == 0 : input.pos == input.size) return {};
    }
  }

 private:
  ZSTD_CStream* stream_;
  std::array<char, kOutput> output_;
};

TraceSink::TraceSink(AtomicFile file, std::unique_ptr<Compressor> compressor)
    : file_(std::move(file)), compressor_(std::move(compressor)) {}
TraceSink::TraceSink(TraceSink&&) noexcept = default;
TraceSink::~TraceSink() = default;

Result<TraceSink> TraceSink::create(const std::string& path) {
  MOESIM_ASSIGN(AtomicFile file, AtomicFile::create(path));
  std::unique_ptr<Compressor> compressor;
  if (path.ends_with(".gz")) compressor = std::make_unique<GzipCompressor>();
  if (path.ends_with(".zst")) compressor = std::make_unique<ZstdCompressor>();
  return TraceSink(std::move(file), std::move(compressor));
}

Status TraceSink::write(std::string_view text) {
  return compressor_ ? compressor_->run(text, Flush::kNo, file_) : file_.write(text);
}

Status TraceSink::commit() {
  if (compressor_) {
    MOESIM_TRY(compressor_->run({}, Flush::kEnd, file_));
  }
  return file_.commit();
}

}  // namespace moesim
