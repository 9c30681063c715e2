// Files of moeexec bench: every case is one observation, the median of its samples.
#include <fmt/format.h>

#include "calibration/import/observations.hpp"
#include "calibration/quantile.hpp"

namespace moesim {

bool is_bench_file(std::string_view text) {
  return text.substr(0, 4096).find("\"moesim-bench/") != std::string_view::npos;
}

Result<Observations> read_bench_file(std::string_view text, const std::string& name) {
  MOESIM_ASSIGN(const BenchFile file, parse_bench(text, name));
  Observations all;
  all.source = fmt::format("moeexec bench{}{}, {} backend, {} rank{}", file.hardware.empty() ? "" : ", ", file.hardware,
                           file.backend, file.hosts.size(), file.hosts.size() == 1 ? "" : "s");
  all.date = file.date.substr(0, 10);
  all.hosts = file.hosts;
  for (const BenchCase& one : file.cases)
    all.rows.push_back({.work = one.work, .seconds = quantile(one.seconds, 0.5), .name = one.name});
  return all;
}

}  // namespace moesim
