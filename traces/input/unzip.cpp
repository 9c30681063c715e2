#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>

#include "traces/input/numpy.hpp"

namespace moesim {
namespace {

constexpr std::size_t kEndRecord = 22;
constexpr std::size_t kCentralRecord = 46;
constexpr std::size_t kLocalRecord = 30;
constexpr std::size_t kMostMembers = 10000;

std::uint64_t number(std::string_view bytes, std::size_t offset, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = size; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[offset + i]);
  return value;
}

struct Directory {
  std::uint64_t members = 0;
  std::uint64_t offset = 0;
};

Result<Directory> find_directory(std::string_view archive, const std::string& place) {
  const std::size_t end = archive.rfind(std::string_view("PK\x05\x06", 4));
  if (end == std::string_view::npos || archive.size() - end < kEndRecord)
    return invalid_input("zip archive has no directory", place, "is the file complete?");
  Directory directory{number(archive, end + 10, 2), number(archive, end + 16, 4)};
  if (directory.members > kMostMembers || directory.offset == UINT32_MAX)
    return invalid_input("zip archive is too large", place, "save fewer arrays per file");
  return directory;
}

Result<std::string> inflate_member(std::string_view packed, std::uint64_t size, const std::string& place) {
  std::string content(static_cast<std::size_t>(size), '\0');
  z_stream stream{};
  MOESIM_ASSERT(inflateInit2(&stream, -MAX_WBITS) == Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(content.data());
  stream.avail_out = static_cast<uInt>(content.size());
  const int state = inflate(&stream, Z_FINISH);
  const bool complete = state == Z_STREAM_END && stream.avail_out == 0;
  inflateEnd(&stream);
  if (!complete) return invalid_input("broken compressed data", place);
  return content;
}

}  // namespace

Result<std::vector<ZipMember>> unzip(std::string_view archive, const std::string& place, std::uint64_t limit) {
  MOESIM_ASSIGN(const Directory directory, find_directory(archive, place));
  std::vector<ZipMember> members;
  std::uint64_t at = directory.offset;
  std::uint64_t total = 0;
  for (std::uint64_t i = 0; i < directory.members; ++i) {
    if (at + kCentralRecord > archive.size() || archive.substr(at, 4) != std::string_view("PK\x01\x02", 4))
      return invalid_input("broken directory in zip archive", place);
    const std::uint64_t method = number(archive, at + 10, 2);
    const std::uint64_t packed = number(archive, at + 20, 4);
    const std::uint64_t size = number(archive, at + 24, 4);
    const std::uint64_t name_length = number(archive, at + 28, 2);
    const std::uint64_t local = number(archive, at + 42, 4);
    const std::string name(archive.substr(std::min<std::uint64_t>(at + kCentralRecord, archive.size()), name_length));
    at += kCentralRecord + name_length + number(archive, at + 30, 2) + number(archive, at + 32, 2);
    if (packed == UINT32_MAX || size == UINT32_MAX || local == UINT32_MAX)
      return invalid_input("member of 4 GiB or more in zip archive", place, "save smaller arrays");
    total += size;
    if (total > limit)
      return invalid_input(fmt::format("archive unpacks to more than the limit of {} MiB", limit >> 20), place);
    if (local + kLocalRecord > archive.size() || archive.substr(local, 4) != std::string_view("PK\x03\x04", 4))
      return invalid_input(fmt::format("member '{}' is broken", name), place);
    const std::uint64_t start = local + kLocalRecord + number(archive, local + 26, 2) + number(archive, local + 28, 2);
    if (start + packed > archive.size())
      return invalid_input(fmt::format("member '{}' is cut off", name), place, "is the file complete?");
    const std::string_view data = archive.substr(start, packed);
    const std::string member_place = fmt::format("{}:{}", place, name);
    if (method == 0 && packed == size) {
      members.push_back({name, std::string(data)});
    } else if (method == Z_DEFLATED) {
      // Deflate cannot shrink data by more than about 1032 to 1: a larger claim is a lie not worth the memory.
      if (size / 1032 > packed + 1) return invalid_input("broken compressed data", member_place);
      MOESIM_ASSIGN(std::string content, inflate_member(data, size, member_place));
      members.push_back({name, std::move(content)});
    } else {
      return invalid_input(fmt::format("compression method {} is not read", method), member_place,
                           "save with numpy.savez or numpy.savez_compressed");
    }
  }
  return members;
}

}  // namespace moesim
