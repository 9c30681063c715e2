#include "sim/cli/output.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "base/file.hpp"
#include "base/text.hpp"
#include "sim/report/json_printer.hpp"
#include "sim/report/png.hpp"

namespace moesim {
namespace {

struct NamedFormat {
  std::string_view name;
  std::string_view suffix;
  OutputFormat format;
};
constexpr std::array<NamedFormat, 5> kFormats = {{{"table", ".txt", OutputFormat::kTable},
                                                  {"csv", ".csv", OutputFormat::kCsv},
                                                  {"json", ".json", OutputFormat::kJson},
                                                  {"jsonl", ".jsonl", OutputFormat::kJsonLines},
                                                  {"md", ".md", OutputFormat::kMarkdown}}};

Result<OutputFormat> by_suffix(const std::string& file) {
  for (const NamedFormat& known : kFormats)
    if (file.ends_with(known.suffix)) return known.format;
  return usage_error(fmt::format("the suffix of '{}' names no format", file),
                     "use .json, .jsonl, .csv, .md or .txt, or give --format");
}

tl::unexpected<Error> write_error(const std::string& path) {
  return fail(ErrorKind::kInternal, fmt::format("cannot write: {}", std::strerror(errno)), path);
}

Status write_descriptor(int descriptor, std::string_view content, const std::string& name) {
  while (!content.empty()) {
    const ssize_t put = ::write(descriptor, content.data(), content.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return write_error(name);
    content.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

constexpr double kPngScale = 2;

bool is_png(const std::string& path) { return to_lower(path).ends_with(".png"); }

enum class Target : std::uint8_t { kAbsent, kRegular, kFolder, kOther };

Target kind_of(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return Target::kAbsent;
  if (S_ISREG(info.st_mode)) return Target::kRegular;
  return S_ISDIR(info.st_mode) ? Target::kFolder : Target::kOther;
}

}  // namespace

Result<OutputFormat> OutputOptions::chosen_format() const {
  if (json && csv) return usage_error("--json and --csv exclude each other");
  const std::string_view wanted = json ? "json" : csv ? "csv" : std::string_view(format);
  if ((json || csv) && !format.empty() && format != wanted)
    return usage_error(fmt::format("--{} and --format {} exclude each other", wanted, format));
  if (wanted.empty()) return to_stdout() ? Result<OutputFormat>(OutputFormat::kTable) : by_suffix(file);
  const auto* known =
      std::find_if(kFormats.begin(), kFormats.end(), [&](const NamedFormat& f) { return f.name == wanted; });
  MOESIM_ASSERT(known != kFormats.end());  // the option accepts nothing else
  return known->format;
}

ColourChoice OutputOptions::colour_choice() const {
  return colour == "always" ? ColourChoice::kAlways : colour == "never" ? ColourChoice::kNever : ColourChoice::kAuto;
}

std::string render(const Report& report, OutputFormat format, const OutputOptions& options) {
  switch (format) {
    case OutputFormat::kTable: {
      const Colour colour = options.to_stdout() || options.colour == "always"
                                ? colour_for(options.colour_choice(), STDOUT_FILENO)
                                : Colour::kOff;
      return to_text(report, {colour, options.verbose ? Legend::kOn : Legend::kOff});
    }
    case OutputFormat::kCsv: return to_csv(report);
    case OutputFormat::kJson: return to_json_text(report);
    case OutputFormat::kJsonLines: return to_json_lines(report);
    case OutputFormat::kMarkdown: return to_markdown(report);
  }
  return {};
}

Status check_writable(const std::string& path, Overwrite overwrite) {
  if (path.empty() || path == "-") return {};
  const Target target = kind_of(path);
  if (target == Target::kFolder) return usage_error(fmt::format("'{}' is a folder", path), "name a file in it");
  if (target == Target::kRegular && overwrite == Overwrite::kRefuse)
    return usage_error(fmt::format("'{}' exists already", path), "give --force to replace it");
  return {};
}

Status check_new_file(const std::string& path, Overwrite overwrite) {
  if (path == "-") return usage_error("this is written to a file, not to stdout", "name a file");
  MOESIM_TRY(check_writable(path, overwrite));
  if (kind_of(path) == Target::kOther)
    return usage_error(fmt::format("'{}' is a device or a pipe", path), "name a file");
  return {};
}

Status prepare_folder(const std::string& folder, Overwrite overwrite) {
  if (folder.empty()) return {};
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);
  if (failure)
    return fail(ErrorKind::kInternal, fmt::format("cannot create the folder: {}", failure.message()), folder);
  const bool empty = std::filesystem::is_empty(folder, failure);
  if (failure) return fail(ErrorKind::kInternal, fmt::format("cannot list the folder: {}", failure.message()), folder);
  if (empty || overwrite == Overwrite::kAllow) return {};
  return usage_error(fmt::format("the folder '{}' is not empty", folder),
                     "name another one, or give --force to write into it");
}

Status write_output(const std::string& path, std::string_view content, Overwrite overwrite) {
  if (path.empty() || path == "-") return write_descriptor(STDOUT_FILENO, content, "stdout");
  MOESIM_TRY(check_writable(path, overwrite));
  if (kind_of(path) != Target::kOther) return write_file_atomically(path, content);
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) return write_error(path);
  const Status written = write_descriptor(descriptor, content, path);
  ::close(descriptor);
  return written;
}

Status check_figure(const std::string& path, Overwrite overwrite) {
  if (path == "-") return usage_error("--plot: a figure is written to a file, not to stdout", "name a file");
  MOESIM_TRY(check_writable(path, overwrite));
  return is_png(path) ? check_png() : Status();
}

Status write_figure(const std::string& path, std::string_view svg, Overwrite overwrite) {
  if (!is_png(path)) return write_output(path, svg, overwrite);
  MOESIM_ASSIGN(const std::string png, png_of(svg, kPngScale));
  return write_output(path, png, overwrite);
}

}  // namespace moesim
