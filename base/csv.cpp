#include "base/csv.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>

#include "base/text.hpp"

namespace moesim {
namespace {

constexpr std::size_t kBlock = 64 * 1024;
constexpr std::size_t kMaxRowBytes = 1 << 20;
constexpr std::size_t kMaxFields = 4096;

}  // namespace

Result<CsvReader> CsvReader::open(const std::string& path) {
  CsvReader reader(path);
  reader.file_.reset(std::fopen(path.c_str(), "rb"));
  if (!reader.file_) return invalid_input(fmt::format("cannot open: {}", std::strerror(errno)), path);
  struct stat info {};
  if (::fstat(::fileno(reader.file_.get()), &info) == 0 && S_ISDIR(info.st_mode))
    return invalid_input("is a folder, not a file", path);
  MOESIM_TRY(reader.read_header());
  return reader;
}

Result<CsvReader> CsvReader::from_text(std::string text, std::string name) {
  CsvReader reader(std::move(name));
  reader.buffer_ = std::move(text);
  MOESIM_TRY(reader.read_header());
  return reader;
}

int CsvReader::get() {
  if (at_ == buffer_.size()) {
    if (!file_) return -1;
    buffer_.resize(kBlock);
    buffer_.resize(std::fread(buffer_.data(), 1, kBlock, file_.get()));
    at_ = 0;
    if (buffer_.empty()) return -1;
  }
  const int byte = static_cast<unsigned char>(buffer_[at_++]);
  if (byte == '\n') ++line_;
  return byte;
}

Result<bool> CsvReader::read_row(std::vector<std::string>& fields) {
  fields.clear();
  row_line_ = line_;
  std::string field;
  std::size_t bytes = 0;
  bool quoted = false;
  bool any = false;
  for (int byte = get();; byte = get()) {
    if (++bytes > kMaxRowBytes) return invalid_input("a row is longer than 1 MiB", place(), "is a quote left open?");
    if (byte < 0 && quoted) return invalid_input("the file ends inside a quoted field", place());
    if (byte < 0 && !any) return false;
    if (byte == '"') {
      any = true;
      // A doubled quote stands for one: it closes the field and opens it again, and the second leaves its
      // mark.
      if (!quoted && !field.empty() && field.back() == '\0')
        field.back() = '"';
      else if (quoted)
        field.push_back('\0');
      quoted = !quoted;
      continue;
    }
    if (quoted) {
      field.push_back(static_cast<char>(byte));
      continue;
    }
    if (!field.empty() && field.back() == '\0') field.pop_back();  // that quote closed the field
    if (byte == '\r') continue;
    if (byte != ',' && byte != '\n' && byte >= 0) {
      if (byte == 0) return invalid_input("a zero byte: this is not a text file", place());
      field.push_back(static_cast<char>(byte));
      any = true;
      continue;
    }
    if (byte == '\n' && !any && fields.empty()) {
      row_line_ = line_;
      bytes = 0;
      continue;
    }
    if (fields.size() == kMaxFields) return invalid_input("a row has more than 4096 fields", place());
    fields.push_back(std::move(field));
    field.clear();
    any = true;
    if (byte != ',') return true;
  }
}

Status CsvReader::read_header() {
  MOESIM_ASSIGN(const bool any, read_row(columns_));
  if (!any) return invalid_input("the file is empty", name_, "expected a row of column names");
  if (!columns_.empty() && columns_.front().starts_with("\xEF\xBB\xBF")) columns_.front().erase(0, 3);
  for (const std::string& column : columns_)
    if (!is_utf8(column)) return invalid_input("the header is not UTF-8 text", place());
  return {};
}

Result<bool> CsvReader::next() {
  MOESIM_ASSIGN(const bool more, read_row(fields_));
  if (more && fields_.size() != columns_.size())
    return invalid_input(fmt::format("{} fields, but the header has {}", fields_.size(), columns_.size()), place());
  return more;
}

std::string CsvReader::place() const { return fmt::format("{}:{}", name_, row_line_); }

bool CsvReader::has_column(std::string_view column) const {
  return std::find(columns_.begin(), columns_.end(), column) != columns_.end();
}

std::string_view CsvReader::text(std::string_view column) const {
  const auto found = std::find(columns_.begin(), columns_.end(), column);
  if (found == columns_.end()) return {};
  const auto index = static_cast<std::size_t>(found - columns_.begin());
  return index < fields_.size() ? trim(fields_[index]) : std::string_view{};
}

Result<std::optional<double>> CsvReader::number(std::string_view column) const {
  const std::string_view field = text(column);
  if (field.empty()) return std::optional<double>{};
  double value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (error != std::errc{} || end != field.data() + field.size() || !std::isfinite(value))
    return invalid_input(fmt::format("'{}': '{}' is not a number", column, field), place());
  return std::optional(value);
}

Result<std::optional<std::int64_t>> CsvReader::integer(std::string_view column) const {
  MOESIM_ASSIGN(const std::optional<double> value, number(column));
  if (!value) return std::optional<std::int64_t>{};
  if (*value != std::floor(*value) || std::abs(*value) > 9e15)
    return invalid_input(fmt::format("'{}': '{}' is not a whole number", column, text(column)), place());
  return std::optional(static_cast<std::int64_t>(*value));
}

}  // namespace moesim
