#include "traces/input/tar_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "traces/input/number_parser.hpp"

namespace moesim {
namespace {

constexpr std::size_t kBlock = 512;
constexpr std::size_t kMagicOffset = 257;

std::string_view field(std::string_view block, std::size_t offset, std::size_t size) {
  const std::string_view whole = block.substr(offset, size);
  return whole.substr(0, whole.find('\0'));
}

bool octal(std::string_view text, std::uint64_t& value) {
  value = 0;
  const std::size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return false;
  for (const char c : text.substr(first)) {
    if (c == ' ') break;
    if (c < '0' || c > '7') return false;
    value = value * 8 + static_cast<std::uint64_t>(c - '0');
  }
  return true;
}

bool checksum_fits(std::string_view block) {
  constexpr std::size_t kOffset = 148;
  constexpr std::size_t kSize = 8;
  std::uint64_t stated = 0;
  if (!octal(field(block, kOffset, kSize), stated)) return false;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kBlock; ++i)
    sum += i >= kOffset && i < kOffset + kSize ? std::uint64_t{' '} : static_cast<unsigned char>(block[i]);
  return sum == stated;
}

// The value of "path" in a pax header, whose records read "<length> <key>=<value>\n".
std::string pax_path(std::string_view records) {
  while (!records.empty()) {
    const std::size_t blank = records.find(' ');
    std::size_t length = 0;
    if (blank == std::string_view::npos ||
        !parse_integer<std::size_t>(records.substr(0, blank), blank + 2, records.size(), length))
      return {};
    const std::string_view record = records.substr(blank + 1, length - blank - 2);
    if (record.starts_with("path=")) return std::string(record.substr(5));
    records.remove_prefix(length);
  }
  return {};
}

}  // namespace

bool TarReader::recognises(std::string_view head) {
  return head.size() >= kBlock && head.substr(kMagicOffset, 5) == "ustar";
}

Status TarReader::read_content(std::uint64_t size, std::string& content) {
  if (size > limit_)
    return invalid_input(fmt::format("file in the archive has {} bytes, more than the limit of {}", size, limit_),
                         stream_.name());
  const std::uint64_t padded = (size + kBlock - 1) / kBlock * kBlock;
  content.resize(padded);
  MOESIM_ASSIGN(const std::size_t got, stream_.read(content));
  if (got < size) return invalid_input("archive ends in the middle of a file", stream_.name(), "is it complete?");
  content.resize(size);
  return {};
}

Result<bool> TarReader::next(TarEntry& entry) {
  std::string long_name;
  while (true) {
    std::array<char, kBlock> header{};
    MOESIM_ASSIGN(const std::size_t got, stream_.read(header));
    const std::string_view block(header.data(), kBlock);
    if (got == 0) return invalid_input("archive ends without its end mark", stream_.name(), "is it complete?");
    if (got < kBlock) return invalid_input("archive ends in the middle of a header", stream_.name(), "is it complete?");
    if (block.find_first_not_of('\0') == std::string_view::npos) return false;
    std::uint64_t size = 0;
    if (!checksum_fits(block) || !octal(field(block, 124, 12), size))
      return invalid_input("broken tar header", stream_.name());
    MOESIM_TRY(read_content(size, entry.content));
    const char type = block[156];
    if (type == 'L') {
      long_name = entry.content.substr(0, entry.content.find('\0'));
    } else if (type == 'x') {
      long_name = pax_path(entry.content);
    } else if (type == '0' || type == '\0') {
      const std::string_view prefix = field(block, 345, 155);
      entry.name = !long_name.empty() ? long_name
                   : prefix.empty()   ? std::string(field(block, 0, 100))
                                      : fmt::format("{}/{}", prefix, field(block, 0, 100));
      return true;
    } else {
      long_name.clear();  // a folder, link or such
    }
  }
}

}  // namespace moesim
