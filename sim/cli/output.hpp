// Where an answer goes and in which form: the options that every command shares, and the writing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "sim/cli/terminal.hpp"
#include "sim/report/report.hpp"

namespace moesim {

enum class OutputFormat : std::uint8_t { kTable, kCsv, kJson, kJsonLines, kMarkdown };

struct OutputOptions {
  std::string format;  // empty: by the suffix of `file`, else a table
  bool json = false;   // short for --format json
  bool csv = false;
  std::string file;  // empty or "-": stdout
  bool force = false;
  bool quiet = false;
  bool verbose = false;
  std::string colour = "auto";

  [[nodiscard]] Result<OutputFormat> chosen_format() const;
  [[nodiscard]] ColourChoice colour_choice() const;
  [[nodiscard]] bool to_stdout() const { return file.empty() || file == "-"; }
};

[[nodiscard]] std::string render(const Report& report, OutputFormat format, const OutputOptions& options);

enum class Overwrite : std::uint8_t { kRefuse, kAllow };
// Refuses a file that is there already unless `overwrite` allows it. Devices and pipes (/dev/stdout) may always be written.
[[nodiscard]] Status check_writable(const std::string& path, Overwrite overwrite);
// The same for results that only a file can hold, because others stand beside it or it is written out of order.
[[nodiscard]] Status check_new_file(const std::string& path, Overwrite overwrite);
// Makes the folder where it is not there; empty names none. It must hold nothing unless `overwrite` allows it: half of one answer
// beside half of another would be worse than an error.
[[nodiscard]] Status prepare_folder(const std::string& folder, Overwrite overwrite);
// Regular files appear whole or not at all; "-" is stdout.
[[nodiscard]] Status write_output(const std::string& path, std::string_view content, Overwrite overwrite);

// Whether a figure can be written to this file, asked before anything is worked out for it; empty: none is wanted.
[[nodiscard]] Status check_figure(const std::string& path, Overwrite overwrite);
// As a PNG of twice the size, for sharp text, where the name ends with .png; else as the SVG that it is.
[[nodiscard]] Status write_figure(const std::string& path, std::string_view svg, Overwrite overwrite);

}  // namespace moesim
