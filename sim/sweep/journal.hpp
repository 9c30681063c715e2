// The finished rows of a sweep, one line of JSON each, written as they come: what survives a kill.
//
// The first line names the sweep; rows follow in the order in which they were finished. A last line that was torn by a kill
// is dropped on opening. A row counts as kept once append() returned (the kernel has it, so the death of this process does
// no harm) and survives a power failure after the next sync(). One process at a time: the file is locked.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "sim/sweep/row.hpp"

namespace moesim {

struct FinishedRow {
  std::int64_t point = 0;
  std::string line;  // row_to_json
};

enum class JournalStart : std::uint8_t {
  kResume,   // goes on where the file ends; an error when it is another sweep's
  kRestart,  // throws away what is there
};

struct JournalIdentity {
  std::string fingerprint;  // SweepEvaluator::fingerprint
  std::string tool;         // version and revision: another program may compute other rows
  std::int64_t points = 0;
};

class SweepJournal {
 public:
  [[nodiscard]] static Result<SweepJournal> open(const std::string& path, const JournalIdentity& identity,
                                                 JournalStart start);
  SweepJournal(SweepJournal&& other) noexcept;
  SweepJournal& operator=(SweepJournal&&) = delete;
  ~SweepJournal();

  [[nodiscard]] std::int64_t finished() const { return finished_; }
  [[nodiscard]] bool has(std::int64_t point) const { return offset_of_[static_cast<std::size_t>(point)] >= 0; }
  [[nodiscard]] Status append(std::span<const FinishedRow> rows);
  [[nodiscard]] Status sync();
  // A row that has() says is there.
  [[nodiscard]] Result<SweepRow> read(std::int64_t point) const;
  // For a sweep whose result has been written.
  [[nodiscard]] Status remove();

 private:
  SweepJournal(std::string path, int descriptor, std::int64_t points);
  [[nodiscard]] Status start_anew(const JournalIdentity& identity);
  [[nodiscard]] Status load(const JournalIdentity& identity);
  [[nodiscard]] Status check_header(std::string_view line, const JournalIdentity& identity) const;
  [[nodiscard]] Status note_row(std::string_view line, std::int64_t offset);
  [[nodiscard]] Status put(std::string_view text);

  std::string path_;
  int descriptor_ = -1;
  std::int64_t size_ = 0;
  std::int64_t finished_ = 0;
  std::vector<std::int64_t> offset_of_;  // by point; -1: not finished
};

}  // namespace moesim
