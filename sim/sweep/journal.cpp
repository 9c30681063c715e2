#include "sim/sweep/journal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

namespace moesim {
namespace {

constexpr int kJournalVersion = 1;
constexpr std::size_t kReadSize = 1 << 16;
constexpr std::size_t kLongestLine = 1 << 20;
constexpr const char* kStartAgain = "give --restart to throw it away and start again, or write to another file";

tl::unexpected<Error> io_error(std::string_view action, const std::string& path) {
  return fail(ErrorKind::kInternal, fmt::format("cannot {}: {}", action, std::strerror(errno)), path);
}

// Reads at `offset`, as much as there is up to `size`.
Result<std::string> read_at(int descriptor, std::int64_t offset, std::size_t size, const std::string& path) {
  std::string chunk(size, '\0');
  while (true) {
    const ssize_t got = ::pread(descriptor, chunk.data(), chunk.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error("read", path);
    chunk.resize(static_cast<std::size_t>(got));
    return chunk;
  }
}

// The line that starts at `offset`, without its end; an error when the file ends first.
Result<std::string> line_at(int descriptor, std::int64_t offset, const std::string& path) {
  std::string line;
  while (line.size() <= kLongestLine) {
    MOESIM_ASSIGN(const std::string chunk,
                  read_at(descriptor, offset + static_cast<std::int64_t>(line.size()), kReadSize / 16, path));
    const std::size_t end = chunk.find('\n');
    line.append(chunk, 0, end);
    if (end != std::string::npos) return line;
    if (chunk.empty()) break;
  }
  return fail(ErrorKind::kInternal, "a row of the journal has vanished", path, "did another program write to it?");
}

}  // namespace

SweepJournal::SweepJournal(std::string path, int descriptor, std::int64_t points)
    : path_(std::move(path)), descriptor_(descriptor), offset_of_(static_cast<std::size_t>(points), -1) {}

SweepJournal::SweepJournal(SweepJournal&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_),
      finished_(other.finished_),
      offset_of_(std::move(other.offset_of_)) {}

SweepJournal::~SweepJournal() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<SweepJournal> SweepJournal::open(const std::string& path, const JournalIdentity& identity, JournalStart start) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) return io_error("open the journal", path);
  SweepJournal journal(path, descriptor, identity.points);
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0)
    return fail(ErrorKind::kInternal, "another sweep is writing this journal", path,
                "wait for it, or write to another file");
  if (start == JournalStart::kRestart && ::ftruncate(descriptor, 0) != 0) return io_error("empty the journal", path);
  MOESIM_TRY(journal.load(identity));
  return journal;
}

Status SweepJournal::start_anew(const JournalIdentity& identity) {
  const nlohmann::ordered_json header = {{"moesim_sweep_journal", kJournalVersion},
                                         {"sweep", identity.fingerprint},
                                         {"tool", identity.tool},
                                         {"points", identity.points}};
  if (::ftruncate(descriptor_, 0) != 0) return io_error("empty the journal", path_);
  size_ = 0;
  MOESIM_TRY(put(header.dump() + "\n"));
  return sync();
}

Status SweepJournal::check_header(std::string_view line, const JournalIdentity& identity) const {
  const nlohmann::json header = nlohmann::json::parse(line, nullptr, false);
  if (!header.is_object() || !header.contains("moesim_sweep_journal"))
    return invalid_input("is not the journal of a sweep", path_, kStartAgain);
  const auto text = [&](const char* key) {
    const auto found = header.find(key);
    return found != header.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  if (header["moesim_sweep_journal"] != kJournalVersion || text("tool") != identity.tool)
    return invalid_input(
        fmt::format("the journal was written by another version ({}), this is {}", text("tool"), identity.tool), path_,
        kStartAgain);
  if (text("sweep") != identity.fingerprint || header.value("points", nlohmann::json()) != identity.points)
    return invalid_input("the journal belongs to another sweep, or an input has changed since", path_, kStartAgain);
  return {};
}

Status SweepJournal::note_row(std::string_view line, std::int64_t offset) {
  MOESIM_ASSIGN(const SweepRow row, row_from_json(line));
  const std::int64_t point = point_of(row);
  if (point < 0 || point >= static_cast<std::int64_t>(offset_of_.size()))
    return invalid_input(fmt::format("names point {}, which the sweep does not have", point));
  std::int64_t& at = offset_of_[static_cast<std::size_t>(point)];
  finished_ += at < 0 ? 1 : 0;
  at = offset;
  return {};
}

// A line that does not read is a torn tail when nothing follows it, and damage otherwise.
Status SweepJournal::load(const JournalIdentity& identity) {
  std::string rest;  // the beginning of a line whose end is still to be read
  std::int64_t line_start = 0;
  std::int64_t lines = 0;
  Status bad;
  for (std::int64_t offset = 0;;) {
    MOESIM_ASSIGN(const std::string chunk, read_at(descriptor_, offset, kReadSize, path_));
    if (chunk.empty()) break;
    offset += static_cast<std::int64_t>(chunk.size());
    std::size_t from = 0;
    for (std::size_t end = chunk.find('\n'); end != std::string::npos; end = chunk.find('\n', from)) {
      if (!bad)
        return invalid_input(fmt::format("line {} of the journal {}", lines, bad.error().what), path_, kStartAgain);
      rest.append(chunk, from, end - from);
      if (lines == 0) {
        MOESIM_TRY(check_header(rest, identity));
      } else {
        bad = note_row(rest, line_start);
      }
      ++lines;
      if (bad) line_start += static_cast<std::int64_t>(rest.size()) + 1;
      rest.clear();
      from = end + 1;
    }
    rest.append(chunk, from);
    if (rest.size() > kLongestLine) return invalid_input("is not the journal of a sweep", path_, kStartAgain);
  }
  if (lines == 0) return start_anew(identity);
  size_ = line_start;
  if (::ftruncate(descriptor_, size_) != 0) return io_error("repair the journal", path_);
  return {};
}

Status SweepJournal::put(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::pwrite(descriptor_, text.data(), text.size(), size_);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return io_error("write the journal", path_);
    size_ += written;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Status SweepJournal::append(std::span<const FinishedRow> rows) {
  std::string text;
  for (const FinishedRow& row : rows) {
    std::int64_t& at = offset_of_[static_cast<std::size_t>(row.point)];
    MOESIM_ASSERT(at < 0);
    at = size_ + static_cast<std::int64_t>(text.size());
    text += row.line;
    text += '\n';
  }
  finished_ += static_cast<std::int64_t>(rows.size());
  return put(text);
}

Status SweepJournal::sync() {
  if (::fdatasync(descriptor_) != 0 && errno != EINVAL) return io_error("write the journal", path_);
  return {};
}

Result<SweepRow> SweepJournal::read(std::int64_t point) const {
  MOESIM_ASSERT(has(point));
  MOESIM_ASSIGN(const std::string line, line_at(descriptor_, offset_of_[static_cast<std::size_t>(point)], path_));
  return row_from_json(line);
}

Status SweepJournal::remove() {
  if (::unlink(path_.c_str()) != 0) return io_error("remove the journal", path_);
  return {};
}

}  // namespace moesim
