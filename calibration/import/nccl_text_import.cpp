// What nccl-tests print: comment lines, a header line that names the columns, rows of sizes and times.
//
// Columns are found by name, because options insert some. The out-of-place time counts, in microseconds; bandwidths are
// rounded and are not read. "Using devices" tells ranks, groups (NCCL_TESTS_SPLIT) and hosts.
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <optional>

#include "base/text.hpp"
#include "calibration/import/nccl_operation.hpp"
#include "calibration/import/observations.hpp"

namespace moesim {
namespace {

constexpr int kMostLoggedRanks = 65536;

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  for (std::size_t at = line.find_first_not_of(" \t\r"); at != std::string_view::npos;) {
    const std::size_t end = std::min(line.find_first_of(" \t\r", at), line.size());
    words.push_back(line.substr(at, end - at));
    at = line.find_first_not_of(" \t\r", end);
  }
  return words;
}

template <class Number>
std::optional<Number> number_of(std::string_view word) {
  Number value{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc{} || end != word.data() + word.size()) return std::nullopt;
  return value;
}

struct Columns {
  std::size_t size = 0;
  std::size_t time = 0;
  bool known = false;
};

Columns columns_of(const std::vector<std::string_view>& names) {
  Columns columns;
  std::optional<std::size_t> size;
  std::optional<std::size_t> time;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!size && names[i] == "size") size = i;
    if (!time && (names[i] == "time" || names[i] == "cputime")) time = i;
  }
  if (size && time) columns = {*size, *time, true};
  return columns;
}

class LogReader {
 public:
  explicit LogReader(const std::string& name) : name_(name) {}

  Status line(std::string_view line, int number) {
    std::vector<std::string_view> words = words_of(line);
    if (words.empty()) return {};
    if (words.front().starts_with('#')) return comment(words, line);
    if (!columns_.known) return {};  // what a job script prints before the test starts
    return row(words, number);
  }

  Result<Observations> finish() {
    if (results_.empty()) return invalid_input("a log of nccl-tests without results", name_);
    const int ranks = static_cast<int>(all_.hosts.size());
    if (ranks < 2)
      return invalid_input("the log names fewer than two ranks", name_, "keep the lines below 'Using devices'");
    std::optional<NcclOperation> operation =
        operation_ ? operation_ : nccl_operation(name_.substr(name_.rfind('/') + 1));
    if (!operation)
      return invalid_input("the log does not say which collective was measured", name_,
                           "put it into the file's name, for instance all_reduce.log");
    std::vector<std::vector<RankId>> groups;
    for (const auto& [group, members] : groups_) groups.push_back(members);
    for (const Timing& result : results_) {
      Observation& row = all_.rows.emplace_back();
      row.work = CollectiveWork{operation->kind, operation->algorithm, groups, result.size};
      row.seconds = result.seconds;
      row.name = fmt::format("{} {}, {} ranks", collective_name(operation->kind), humanize(result.size),
                             groups.front().size());
    }
    all_.source = fmt::format("nccl-tests, {} ranks", ranks);
    return std::move(all_);
  }

 private:
  Status comment(std::vector<std::string_view>& words, std::string_view line) {
    if (words.front() == "#")
      words.erase(words.begin());
    else
      words.front().remove_prefix(1);
    if (const Columns found = columns_of(words); found.known) columns_ = found;
    if (!operation_ && line.find("_perf") != std::string_view::npos) operation_ = nccl_operation(line);
    if (words.size() >= 6 && words[0] == "Rank") device(words);
    return {};
  }

  // Rank 0 Group 0 Pid 4711 on host device 0 [0000:07:00] NVIDIA ...
  void device(const std::vector<std::string_view>& words) {
    std::optional<int> rank;
    int group = 0;
    std::string host;
    for (std::size_t i = 0; i + 1 < words.size(); ++i) {
      if (words[i] == "Rank") rank = number_of<int>(words[i + 1]);
      if (words[i] == "Group") group = number_of<int>(words[i + 1]).value_or(0);
      if (words[i] == "on" && host.empty()) host = words[i + 1];
    }
    if (!rank || *rank != static_cast<int>(all_.hosts.size()) || *rank >= kMostLoggedRanks) return;
    all_.hosts.push_back(host);
    groups_[group].emplace_back(*rank);
  }

  Status row(const std::vector<std::string_view>& words, int number) {
    const std::optional<std::int64_t> size =
        columns_.size < words.size() ? number_of<std::int64_t>(words[columns_.size]) : std::nullopt;
    if (!size) return {};  // a message of NCCL between the rows
    const std::optional<double> time =
        columns_.time < words.size() ? number_of<double>(words[columns_.time]) : std::nullopt;
    if (!time || !std::isfinite(*time) || *time < 0 || *size < 0 || *size > std::int64_t{1} << 50)
      return invalid_input("a row without a size and a time that can be", fmt::format("{}:{}", name_, number));
    if (*size == 0 || *time == 0) {
      ++all_.left_out["of size or time 0"];
      return {};
    }
    results_.push_back({Bytes(*size), *time * 1e-6});
    return {};
  }

  struct Timing {
    Bytes size;
    double seconds = 0;
  };

  std::string name_;
  Observations all_;
  std::vector<Timing> results_;
  Columns columns_;
  std::optional<NcclOperation> operation_;
  std::map<int, std::vector<RankId>> groups_;
};

}  // namespace

bool is_nccl_text(std::string_view text) {
  for (const std::string_view line : split(text, '\n')) {
    std::vector<std::string_view> words = words_of(line);
    if (words.empty() || !words.front().starts_with('#')) continue;
    if (words.front() != "#")
      words.front().remove_prefix(1);
    else
      words.erase(words.begin());
    if (columns_of(words).known) return true;
  }
  return false;
}

Result<Observations> read_nccl_text(std::string_view text, const std::string& name) {
  LogReader reader(name);
  int number = 0;
  for (const std::string_view line : split(text, '\n')) MOESIM_TRY(reader.line(line, ++number));
  return reader.finish();
}

}  // namespace moesim
