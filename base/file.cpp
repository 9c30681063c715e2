#include "base/file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/text.hpp"

namespace moesim {
namespace {

constexpr std::size_t kWriteBuffer = 1 << 20;
constexpr const char* kDescriptors = "/proc/self/fd";
constexpr int kMostNames = 1000;

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

tl::unexpected<Error> io_error(std::string_view action, const std::string& path) {
  return fail(ErrorKind::kInternal, fmt::format("cannot {}: {}", action, std::strerror(errno)), path);
}

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return value_; }

 private:
  int value_;
};

}  // namespace

Result<std::string> read_file(const std::string& path, std::uint64_t limit_bytes) {
  const Descriptor file(path == "-" ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return invalid_input(fmt::format("cannot open: {}", std::strerror(errno)), path);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return io_error("read", path);
  if (S_ISDIR(info.st_mode)) return invalid_input("is a folder, not a file", path);
  std::string content;
  if (S_ISREG(info.st_mode)) {
    if (static_cast<std::uint64_t>(info.st_size) > limit_bytes)
      return invalid_input(fmt::format("file has {} bytes, more than the limit of {}", info.st_size, limit_bytes),
                           path);
    content.reserve(static_cast<std::size_t>(info.st_size) + 1);
  }
  std::string chunk(1 << 16, '\0');
  while (true) {
    const ssize_t got = ::read(file.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error("read", path);
    if (got == 0) return content;
    content.append(chunk, 0, static_cast<std::size_t>(got));
    if (content.size() > limit_bytes)
      return invalid_input(fmt::format("input is larger than the limit of {} bytes", limit_bytes), path);
  }
}

Result<std::string> read_text_file(const std::string& path, std::uint64_t limit_bytes) {
  MOESIM_ASSIGN(std::string content, read_file(path, limit_bytes));
  if (content.starts_with("\xEF\xBB\xBF")) content.erase(0, 3);
  if (content.starts_with("\xFF\xFE") || content.starts_with("\xFE\xFF"))
    return invalid_input("file is UTF-16", path, "save it as UTF-8");
  if (content.find('\0') != std::string::npos)
    return invalid_input("file is UTF-16 or binary: it holds a zero byte", path, "save it as UTF-8");
  if (!is_utf8(content)) return invalid_input("file is not UTF-8 text", path, "save it as UTF-8");
  return content;
}

Status write_file_atomically(const std::string& path, std::string_view content) {
  MOESIM_ASSIGN(AtomicFile file, AtomicFile::create(path));
  MOESIM_TRY(file.write(content));
  return file.commit();
}

AtomicFile::AtomicFile(std::string path, std::string temporary, int descriptor, Target target)
    : path_(std::move(path)), temporary_(std::move(temporary)), descriptor_(descriptor), target_(target) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})),
      buffer_(std::move(other.buffer_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      target_(other.target_) {}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<AtomicFile> AtomicFile::create(const std::string& path, Temporary temporary) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    if (S_ISDIR(info.st_mode)) return usage_error(fmt::format("'{}' is a folder", path), "name a file in it");
    if (temporary == Temporary::kNamed) return usage_error(fmt::format("'{}' is no file that could be replaced", path));
    const int straight = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (straight < 0) return io_error("write", path);
    return AtomicFile(path, {}, straight, Target::kWrittenStraight);
  }
  if (temporary == Temporary::kUnnamed && ::access(kDescriptors, X_OK) == 0) {
    const int unnamed = ::open(folder_of(path).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (unnamed >= 0) return AtomicFile(path, {}, unnamed, Target::kReplaced);
    // Some file systems know no unnamed files; other failures repeat themselves below.
  }
  std::string name = path + ".XXXXXX";
  const int descriptor = ::mkostemp(name.data(), O_CLOEXEC);
  if (descriptor < 0) return io_error("create a file here", path);
  return AtomicFile(path, std::move(name), descriptor, Target::kReplaced);
}

// Only a file with a name can be renamed over another one.
Status AtomicFile::give_name() {
  const std::string self = fmt::format("{}/{}", kDescriptors, descriptor_);
  for (int attempt = 0;; ++attempt) {
    std::string name = fmt::format("{}.{}-{}", path_, ::getpid(), attempt);
    if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0) {
      temporary_ = std::move(name);
      return {};
    }
    if (errno != EEXIST || attempt == kMostNames) return io_error("create a file here", path_);
  }
}

Status AtomicFile::write(std::string_view piece) {
  buffer_.append(piece);
  return buffer_.size() < kWriteBuffer ? Status{} : flush();
}

Status AtomicFile::flush() {
  std::string_view rest = buffer_;
  while (!rest.empty()) {
    const ssize_t put = ::write(descriptor_, rest.data(), rest.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return io_error("write", path_);
    rest.remove_prefix(static_cast<std::size_t>(put));
  }
  buffer_.clear();
  return {};
}

Status AtomicFile::commit() {
  MOESIM_TRY(flush());
  if (target_ == Target::kWrittenStraight)
    return ::close(std::exchange(descriptor_, -1)) == 0 ? Status{} : io_error("write", path_);
  const mode_t mask = ::umask(0);  // a temporary file has 0600; a result file should be as readable as any other
  ::umask(mask);
  if (::fchmod(descriptor_, 0666 & ~mask) != 0) return io_error("set the permissions of", path_);
  if (::fsync(descriptor_) != 0 && errno != EINVAL) return io_error("write", path_);
  if (temporary_.empty()) {
    MOESIM_TRY(give_name());
  }
  ::close(std::exchange(descriptor_, -1));
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const tl::unexpected<Error> error = io_error("rename into place", path_);
    ::unlink(temporary_.c_str());
    return error;
  }
  return {};
}

}  // namespace moesim
