#include "calibration/measurement.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "calibration/measurement_rows.hpp"
#include "models/cluster/cluster_source.hpp"

namespace moesim {
namespace {

bool has_link_like(const ClusterView& view, std::string_view word) {
  for (const Tier& tier : view.tiers())
    if (mentions(tier.provenance.source, word)) return true;
  return false;
}

}  // namespace

MeasurementFormat measurement_format(const CsvReader& reader) {
  const auto all = [&](std::initializer_list<std::string_view> columns) {
    return std::all_of(columns.begin(), columns.end(),
                       [&](std::string_view column) { return reader.has_column(column); });
  };
  if (all({"id", "hardware", "kind", "m", "n", "k", "time_us"})) return MeasurementFormat::kGemm;
  if (all({"id", "hardware", "op", "n_gpus", "size_bytes", "time_us"})) return MeasurementFormat::kCollectives;
  if (all({"id", "hardware", "component", "tokens_per_rank", "time_us"})) return MeasurementFormat::kMoeLayer;
  return MeasurementFormat::kUnknown;
}

Measurement common_fields(const CsvReader& reader) {
  Measurement row;
  row.id = reader.text("id");
  row.source = reader.text("source_id");
  row.hardware = reader.text("hardware");
  row.quality = reader.text("quality");
  row.variant = reader.text(reader.has_column("algo_or_impl") ? "algo_or_impl" : "library");
  row.metric = "time_s";
  return row;
}

std::shared_ptr<const ClusterView> MeasuredClusters::find(std::string_view hardware, std::string_view fabric, int nodes,
                                                          std::string& why) {
  const std::string key = fmt::format("{}|{}|{}", hardware, fabric, nodes);
  if (const auto found = compiled_.find(key); found != compiled_.end()) return found->second;
  const Result<DeviceSpec> device = find_device(hardware);
  if (!device) {
    why = fmt::format("no device '{}' in the catalogue", hardware);
    return nullptr;
  }
  std::shared_ptr<const ClusterView> chosen;
  for (const std::string& name : preset_names()) {
    const Result<ClusterSpec> spec = load_cluster("preset:" + name, nodes);
    if (!spec || spec->groups.empty() || spec->groups.front().node.device.name != device->name) continue;
    Result<ClusterView> view = compile(*spec);
    if (!view) continue;
    const bool fits = fabric.empty() || has_link_like(*view, fabric);
    if (fits || !chosen) chosen = std::make_shared<const ClusterView>(std::move(*view));
    if (fits) break;
  }
  if (!chosen)
    why = fmt::format("no preset cluster has the device '{}'", device->name);
  else
    compiled_.emplace(key, chosen);
  return chosen;
}

std::shared_ptr<const ClusterView> MeasuredClusters::single_device(std::string_view hardware, std::string& why) {
  const std::string key = fmt::format("{}|single", hardware);
  if (const auto found = compiled_.find(key); found != compiled_.end()) return found->second;
  const Result<DeviceSpec> device = find_device(hardware);
  if (!device) {
    why = fmt::format("no device '{}' in the catalogue", hardware);
    return nullptr;
  }
  auto view =
      std::make_shared<const ClusterView>(std::vector{*device}, std::vector<std::int32_t>{0}, std::vector<double>{1},
                                          std::vector<std::int32_t>{0}, std::vector<Tier>{});
  compiled_.emplace(key, view);
  return view;
}

Result<std::vector<Measurement>> read_measurements(CsvReader& reader) {
  const MeasurementFormat format = measurement_format(reader);
  if (format == MeasurementFormat::kUnknown)
    return invalid_input("the columns are none of the known measurement formats", reader.place(),
                         "GEMM (kind, m, n, k, time_us), collectives (op, n_gpus, size_bytes, time_us) or MoE layer "
                         "(component, tokens_per_rank, time_us)");
  MeasuredClusters clusters;
  std::vector<Measurement> rows;
  while (true) {
    MOESIM_ASSIGN(const bool more, reader.next());
    if (!more) return rows;
    Result<Measurement> row = format == MeasurementFormat::kGemm          ? read_gemm_row(reader, clusters)
                              : format == MeasurementFormat::kCollectives ? read_collective_row(reader, clusters)
                                                                          : read_moe_layer_row(reader, clusters);
    if (!row) return tl::unexpected<Error>(std::move(row).error());
    rows.push_back(std::move(*row));
  }
}

Result<std::vector<Measurement>> read_measurements(const std::string& path) {
  MOESIM_ASSIGN(CsvReader reader, CsvReader::open(path));
  return read_measurements(reader);
}

}  // namespace moesim
