#include "sim/report/report.hpp"

#include <sys/stat.h>

#include <utility>

#include "base/file.hpp"
#include "sim/report/sha256.hpp"

namespace moesim {
namespace {
constexpr std::uint64_t kLargestHashedFile = 64ULL << 20;
}

Section& Report::add_rows(std::string key, std::string title, MetricTable table) {
  return sections.emplace_back(Section{std::move(key), std::move(title), SectionKind::kRows, std::move(table)});
}

Section& Report::add_record(std::string key, std::string title, MetricTable table) {
  return sections.emplace_back(Section{std::move(key), std::move(title), SectionKind::kRecord, std::move(table)});
}

InputRecord input_record(std::string role, const std::string& source) {
  InputRecord record{std::move(role), source, std::nullopt, {}};
  struct stat info {};
  if (::stat(source.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return record;
  record.bytes = info.st_size;
  if (static_cast<std::uint64_t>(info.st_size) > kLargestHashedFile) return record;
  const Result<std::string> content = read_file(source, kLargestHashedFile);
  if (content) record.sha256 = sha256_hex(*content);
  return record;
}

}  // namespace moesim
