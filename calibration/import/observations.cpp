#include "calibration/import/observations.hpp"

#include <fmt/format.h>

#include "base/file.hpp"

namespace moesim {

namespace {
constexpr std::uint64_t kLargestInput = 64 << 20;
}  // namespace

const std::vector<ObservationFormat>& observation_formats() {
  static const std::vector<ObservationFormat> formats = {
      {"moeexec bench", is_bench_file, read_bench_file},
      {"nccl-tests JSON", is_nccl_json, read_nccl_json},
      {"nccl-tests log", is_nccl_text, read_nccl_text},
      {"CSV", is_plain_csv, read_plain_csv},
  };
  return formats;
}

Result<Observations> parse_observations(std::string_view text, const std::string& name) {
  for (const ObservationFormat& format : observation_formats())
    if (format.recognises(text)) return format.read(text, name);
  return invalid_input("no known form of measurements", name,
                       "known are files of moeexec bench, output of nccl-tests (text or JSON), and CSV with a header "
                       "(docs/calibration.md)");
}

Result<Observations> load_observations(const std::string& path) {
  MOESIM_ASSIGN(const std::string text, read_text_file(path, kLargestInput));
  return parse_observations(text, path);
}

}  // namespace moesim
