#include "traces/writer.hpp"

#include <fmt/format.h>
#include <zstd.h>

#include <iterator>

namespace moesim {
namespace {

constexpr std::size_t kBuffer = 1 << 18;
constexpr int kCompressionLevel = 9;

}  // namespace

class TraceWriter::Compressor {
 public:
  Compressor() { ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, kCompressionLevel); }

  Status compress(std::string_view text, bool last, AtomicFile& file) {
    ZSTD_inBuffer in{text.data(), text.size(), 0};
    std::string packed(ZSTD_CStreamOutSize(), '\0');
    while (true) {
      ZSTD_outBuffer out{packed.data(), packed.size(), 0};
      const std::size_t left = ZSTD_compressStream2(context_.get(), &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
      if (ZSTD_isError(left) != 0)
        return fail(ErrorKind::kInternal, fmt::format("cannot compress: {}", ZSTD_getErrorName(left)));
      MOESIM_TRY(file.write({packed.data(), out.pos}));
      if (last ? left == 0 : in.pos == in.size) return {};
    }
  }

 private:
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  std::unique_ptr<ZSTD_CCtx, Free> context_{ZSTD_createCCtx()};
};

Result<std::unique_ptr<TraceWriter>> TraceWriter::create(const std::string& path, TraceRows rows) {
  MOESIM_ASSIGN(AtomicFile file, AtomicFile::create(path));
  std::unique_ptr<TraceWriter> writer(new TraceWriter(path, rows, std::move(file)));
  if (path.ends_with(".zst")) writer->compressor_ = std::make_unique<Compressor>();
  return writer;
}

TraceWriter::TraceWriter(std::string path, TraceRows rows, AtomicFile file)
    : path_(std::move(path)), rows_(rows), file_(std::move(file)) {}
TraceWriter::~TraceWriter() = default;

Status TraceWriter::write_out(bool last) {
  if (compressor_) {
    MOESIM_TRY(compressor_->compress(buffer_, last, file_));
  } else {
    MOESIM_TRY(file_.write(buffer_));
  }
  buffer_.clear();
  return {};
}

Status TraceWriter::flush_if_full() { return buffer_.size() < kBuffer ? Status{} : write_out(false); }

void TraceWriter::begin_row(const RowKey& key, std::string_view header_middle, std::string_view prefix,
                            std::size_t numbered) {
  auto out = std::back_inserter(buffer_);
  if (!any_) {
    fmt::format_to(out, "iter,layer,micro_batch,src_rank{}", header_middle);
    for (std::size_t i = 0; i < numbered; ++i) fmt::format_to(out, ",{}{}", prefix, i);
    buffer_ += '\n';
    any_ = true;
  }
  fmt::format_to(out, "{},{},{},{}", key.iteration, key.layer, key.micro_batch, key.source_rank);
}

Status TraceWriter::counts(const CountRow& row) {
  if (rows_ != TraceRows::kCounts) return {};
  begin_row(row.key, "", "e", row.counts.size());
  for (const std::uint32_t count : row.counts) {
    buffer_ += ',';
    const fmt::format_int text(count);
    buffer_.append(text.data(), text.size());
  }
  buffer_ += '\n';
  return flush_if_full();
}

Status TraceWriter::token(const TokenRow& row) {
  if (rows_ != TraceRows::kTokens) return {};
  begin_row(row.key, ",token", "id", row.ids.size());
  fmt::format_to(std::back_inserter(buffer_), ",{}", row.token);
  for (const std::int32_t id : row.ids) fmt::format_to(std::back_inserter(buffer_), ",{}", id);
  buffer_ += '\n';
  return flush_if_full();
}

Status TraceWriter::commit(const TraceInfo& info) {
  if (!any_)
    return invalid_input(rows_ == TraceRows::kTokens ? "the input has counts only: expert ids per token cannot be "
                                                       "made from them"
                                                     : "there are no rows to write",
                         path_, rows_ == TraceRows::kTokens ? "write counts instead" : "");
  MOESIM_TRY(write_out(true));
  MOESIM_TRY(file_.commit());
  return write_file_atomically(path_ + ".json", side_file_text(info));
}

}  // namespace moesim
