#include "sim/placement/layer_times_file.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/csv.hpp"

namespace moesim {
namespace {

Result<MeasuredLayer> measured_row(const CsvReader& reader, const ReplayTrace& trace,
                                   const ExpertPlacement& placement) {
  MOESIM_ASSIGN(const std::optional<std::int64_t> iteration, reader.integer("iteration"));
  MOESIM_ASSIGN(const std::optional<std::int64_t> layer, reader.integer("layer"));
  MOESIM_ASSIGN(const std::optional<double> seconds, reader.number("time_s"));
  if (!iteration || !layer || !seconds) return invalid_input("iteration, layer or time_s is empty", reader.place());
  const auto& iterations = trace.iterations();
  const auto step = std::find(iterations.begin(), iterations.end(), *iteration);
  if (step == iterations.end())
    return invalid_input(fmt::format("iteration {} was not recorded", *iteration), reader.place());
  if (*layer < 0 || *layer >= trace.layers())
    return invalid_input(fmt::format("layer {}: there are {} MoE layers", *layer, trace.layers()), reader.place(),
                         "count MoE layers from 0");
  if (!(*seconds > 0)) return invalid_input("a time must be above 0", reader.place());
  return MeasuredLayer{trace.counts(static_cast<int>(step - iterations.begin()), static_cast<int>(*layer), 0),
                       &placement, Seconds(*seconds)};
}

Result<LayerFit> fit_layer_times(CsvReader reader, const std::string& name, const ReplayTrace& trace,
                                 const LayerTimeModel& laws) {
  for (const char* column : {"iteration", "layer", "time_s"})
    if (!reader.has_column(column))
      return invalid_input(fmt::format("there is no column '{}'", column), name,
                           "the columns are iteration, layer and time_s");
  PlacementSizes sizes{trace.devices(), trace.experts(), 0};
  sizes.slots_per_device = sizes.least_slots_per_device();
  const ExpertPlacement placement = ExpertPlacement::contiguous(sizes);
  std::vector<MeasuredLayer> rows;
  while (true) {
    MOESIM_ASSIGN(const bool more, reader.next());
    if (!more) break;
    MOESIM_ASSIGN(const MeasuredLayer row, measured_row(reader, trace, placement));
    rows.push_back(row);
  }
  Result<LayerFit> fit = fit_layer_time(rows, laws.node_of_device, {});
  if (!fit) return fail(fit.error().kind, fit.error().what, name, fit.error().hint);
  LayerTimeModel& model = fit->model;
  for (ExchangeTier& tier : model.tiers)
    for (auto* rates : {&tier.out_s_per_byte, &tier.in_s_per_byte})
      for (double& rate : *rates) rate /= laws.row.value();
  model.row = laws.row;
  model.expert = laws.expert;
  model.shadow = laws.shadow;
  model.cut = laws.cut;
  return fit;
}

}  // namespace

Result<LayerFit> fit_layer_times_file(const std::string& path, const ReplayTrace& trace, const LayerTimeModel& laws) {
  MOESIM_ASSIGN(CsvReader reader, CsvReader::open(path));
  return fit_layer_times(std::move(reader), path, trace, laws);
}

Result<LayerFit> fit_layer_times_text(std::string text, const std::string& name, const ReplayTrace& trace,
                                      const LayerTimeModel& laws) {
  MOESIM_ASSIGN(CsvReader reader, CsvReader::from_text(std::move(text), name));
  return fit_layer_times(std::move(reader), name, trace, laws);
}

}  // namespace moesim
