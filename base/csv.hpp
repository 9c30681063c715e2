// Comma-separated files, read row by row: quoted fields (with commas, doubled quotes and line breaks inside),
// CRLF or LF.
//
//   MOESIM_ASSIGN(CsvReader reader, CsvReader::open("gemm.csv"));    // reads the header row
//   while (true) {
//     MOESIM_ASSIGN(const bool more, reader.next());
//     if (!more) break;
//     MOESIM_ASSIGN(const std::optional<double> time, reader.number("time_us"));
//   }
//
// Bounded: a row holds at most 1 MiB and 4096 fields, so a file of any length needs little memory. Errors
// name the line.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace moesim {

class CsvReader {
 public:
  [[nodiscard]] static Result<CsvReader> open(const std::string& path);
  [[nodiscard]] static Result<CsvReader> from_text(std::string text, std::string name);

  [[nodiscard]] const std::vector<std::string>& columns() const { return columns_; }
  [[nodiscard]] bool has_column(std::string_view column) const;
  // The next row; false at the end. Blank lines are skipped; a row of another length than the header is an
  // error.
  [[nodiscard]] Result<bool> next();
  // file:line of the row that next() gave.
  [[nodiscard]] std::string place() const;

  // Fields of the current row; empty when the file has no such column.
  [[nodiscard]] std::string_view text(std::string_view column) const;
  // nullopt for an empty field; an error for one that is no finite number.
  [[nodiscard]] Result<std::optional<double>> number(std::string_view column) const;
  [[nodiscard]] Result<std::optional<std::int64_t>> integer(std::string_view column) const;

 private:
  struct FileCloser {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  explicit CsvReader(std::string name) : name_(std::move(name)) {}
  [[nodiscard]] Status read_header();
  [[nodiscard]] Result<bool> read_row(std::vector<std::string>& fields);
  [[nodiscard]] int get();  // the next byte or -1

  std::string name_;
  std::unique_ptr<std::FILE, FileCloser> file_;  // null when reading from text
  std::string buffer_;
  std::size_t at_ = 0;
  std::int64_t line_ = 1;
  std::int64_t row_line_ = 1;
  std::vector<std::string> columns_;
  std::vector<std::string> fields_;
};

}  // namespace moesim
