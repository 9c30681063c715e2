#include "sim/sweep/sqlite_file.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <memory>

#include "base/file.hpp"

namespace moesim {
namespace {

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close(database); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;

struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

Status check(sqlite3* database, int code, int expected, const std::string& path) {
  if (code == expected) return {};
  return fail(ErrorKind::kInternal, fmt::format("SQLite cannot write: {}", sqlite3_errmsg(database)), path);
}

Status execute(sqlite3* database, const std::string& sql, const std::string& path) {
  return check(database, sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK, path);
}

// SQLite stores each value with its own type; what the columns declare is for readers.
std::string create_table() {
  std::string columns;
  for (const MetricColumn& column : sweep_columns())
    columns += fmt::format("{}\"{}\"{}", columns.empty() ? "" : ", ", column.key,
                           column.key == "point" ? " INTEGER PRIMARY KEY" : "");
  return fmt::format("CREATE TABLE results ({})", columns);
}

std::string insert_row() {
  std::string places;
  for (std::size_t i = 0; i < sweep_columns().size(); ++i) places += places.empty() ? "?" : ", ?";
  return fmt::format("INSERT INTO results VALUES ({})", places);
}

struct Bind {
  sqlite3_stmt* statement;
  int place;
  int operator()(std::monostate) const { return sqlite3_bind_null(statement, place); }
  int operator()(bool value) const { return sqlite3_bind_int(statement, place, value ? 1 : 0); }
  int operator()(std::int64_t value) const { return sqlite3_bind_int64(statement, place, value); }
  int operator()(double value) const { return sqlite3_bind_double(statement, place, value); }
  int operator()(const std::string& value) const {
    return sqlite3_bind_text64(statement, place, value.data(), value.size(), SQLITE_STATIC, SQLITE_UTF8);
  }
};

Status insert_rows(sqlite3* database, const ResultRows& rows, const std::string& path) {
  sqlite3_stmt* prepared = nullptr;
  const int code = sqlite3_prepare_v2(database, insert_row().c_str(), -1, &prepared, nullptr);
  const Statement statement(prepared);
  MOESIM_TRY(check(database, code, SQLITE_OK, path));
  for (std::int64_t i = 0; i < rows.count; ++i) {
    MOESIM_ASSIGN(const SweepRow row, rows.row(i));
    for (std::size_t column = 0; column < row.size(); ++column)
      MOESIM_TRY(
          check(database, std::visit(Bind{prepared, static_cast<int>(column) + 1}, row[column]), SQLITE_OK, path));
    MOESIM_TRY(check(database, sqlite3_step(prepared), SQLITE_DONE, path));
    MOESIM_TRY(check(database, sqlite3_reset(prepared), SQLITE_OK, path));
  }
  return {};
}

Status fill(sqlite3* database, const ResultRows& rows, const std::string& path) {
  // The file is a temporary one until it is complete: nothing to roll back, nothing to sync yet.
  MOESIM_TRY(execute(database, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN", path));
  MOESIM_TRY(execute(database, create_table(), path));
  MOESIM_TRY(insert_rows(database, rows, path));
  return execute(database, "COMMIT", path);
}

}  // namespace

Status write_sqlite(const std::string& path, const ResultRows& rows) {
  MOESIM_ASSIGN(AtomicFile file, AtomicFile::create(path, Temporary::kNamed));
  sqlite3* opened = nullptr;
  const int code = sqlite3_open_v2(file.temporary_path().c_str(), &opened, SQLITE_OPEN_READWRITE, nullptr);
  Database database(opened);
  MOESIM_TRY(check(opened, code, SQLITE_OK, path));
  MOESIM_TRY(fill(opened, rows, path));
  database.reset();
  return file.commit();
}

}  // namespace moesim
