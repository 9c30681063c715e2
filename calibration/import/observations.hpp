// Measurements of one file, whatever its format, as questions to the cost laws with their answers.
//
// To add a format: a file in this folder and a line in observations.cpp. Rows that the laws cannot express are left out, and
// counted with the reason. Groups of collectives hold the ranks of the file; on which host each of them was is in
// `hosts`, where the format says it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "calibration/bench_file.hpp"

namespace moesim {

struct Observation {
  BenchWork work;
  double seconds = 0;  // the median where there are several samples
  std::string name;
};

struct Observations {
  std::string source;  // where they come from, in a few words, for the profile
  std::string date;    // empty: the format has none
  std::vector<std::string> hosts;
  std::vector<Observation> rows;
  std::map<std::string, int> left_out;  // reason -> rows
};

struct ObservationFormat {
  std::string_view name;
  bool (*recognises)(std::string_view text);
  Result<Observations> (*read)(std::string_view text, const std::string& name);
};
[[nodiscard]] const std::vector<ObservationFormat>& observation_formats();

// `name` stands in errors; nccl-tests logs that do not say what they measure are asked for it ("all_reduce.log").
[[nodiscard]] Result<Observations> parse_observations(std::string_view text, const std::string& name);
[[nodiscard]] Result<Observations> load_observations(const std::string& path);

// --- one per format
[[nodiscard]] bool is_bench_file(std::string_view text);
[[nodiscard]] Result<Observations> read_bench_file(std::string_view text, const std::string& name);
[[nodiscard]] bool is_nccl_json(std::string_view text);
[[nodiscard]] Result<Observations> read_nccl_json(std::string_view text, const std::string& name);
[[nodiscard]] bool is_nccl_text(std::string_view text);
[[nodiscard]] Result<Observations> read_nccl_text(std::string_view text, const std::string& name);
[[nodiscard]] bool is_plain_csv(std::string_view text);
[[nodiscard]] Result<Observations> read_plain_csv(std::string_view text, const std::string& name);

}  // namespace moesim
