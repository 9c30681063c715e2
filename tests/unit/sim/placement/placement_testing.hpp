// Counts, models and placements for the tests of sim/placement.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/csv.hpp"
#include "sim/placement/layer_time.hpp"
#include "traces/random.hpp"

namespace moesim {

// Counts that own their numbers.
struct OwnedCounts {
  std::vector<std::int32_t> counts;
  int devices = 0;
  int experts = 0;
  [[nodiscard]] RecordedCounts view() const { return {counts, devices, experts}; }
  [[nodiscard]] std::vector<double> real() const { return {counts.begin(), counts.end()}; }
};

// Experts of unequal popularity, every source with its own variation.
inline OwnedCounts random_counts(int devices, int experts, std::uint64_t seed) {
  Pcg32 random(seed);
  OwnedCounts result{{}, devices, experts};
  std::vector<double> popularity;
  for (int e = 0; e < experts; ++e) popularity.push_back(random.gamma(0.4) * 1000);
  for (int d = 0; d < devices; ++d)
    for (int e = 0; e < experts; ++e)
      result.counts.push_back(
          static_cast<std::int32_t>(popularity[static_cast<std::size_t>(e)] * (0.5 + random.uniform())));
  return result;
}

// One port per device of `s_per_byte` for what stays on a node of `per_node` devices; beyond it one port per node of `nic_s_per_byte`.
inline LayerTimeModel two_tier_model(int devices, int per_node, double s_per_byte, double nic_s_per_byte) {
  LayerTimeModel model;
  model.compute = TimeCurve::line(Seconds(0), Seconds(1));
  model.speed.assign(static_cast<std::size_t>(devices), 1.0);
  model.row = Bytes(1);
  ExchangeTier inner;
  ExchangeTier outer;
  for (int d = 0; d < devices; ++d) {
    model.node_of_device.push_back(d / per_node);
    inner.port_of_device.push_back(d);
    inner.out_s_per_byte.push_back(s_per_byte);
    outer.port_of_device.push_back(d / per_node);
    if (d % per_node == 0) outer.out_s_per_byte.push_back(nic_s_per_byte);
    for (int other = 0; other < devices; ++other)
      model.meets_at.push_back(static_cast<std::int8_t>(d == other ? -1 : d / per_node == other / per_node ? 0 : 1));
  }
  inner.in_s_per_byte = inner.out_s_per_byte;
  outer.in_s_per_byte = outer.out_s_per_byte;
  inner.curve = outer.curve = TimeCurve::line(Seconds(0), Seconds(1));
  outer.first_port_tier = 1;
  model.tiers.push_back(std::move(inner));
  if (devices > per_node) model.tiers.push_back(std::move(outer));
  model.expert = {Bytes(3), Bytes(2), Bytes(5)};
  return model;
}
inline LayerTimeModel one_tier_model(int devices) { return two_tier_model(devices, devices, 1, 1); }

inline ExpertPlacement placed(const PlacementSizes& sizes, std::vector<std::int32_t> slots) {
  Result<ExpertPlacement> placement = ExpertPlacement::make(sizes, std::move(slots));
  if (!placement) {
    ADD_FAILURE() << placement.error().what;
    return ExpertPlacement::contiguous(sizes);
  }
  return std::move(*placement);
}

// The recordings and measurements of the SmartMoE artifact; empty where they are not beside the checkout.
inline std::string smartmoe_file(const std::string& name) {
  std::string path = std::string(MOESIM_SHARED_DIR) + "/data/traces/smartmoe-ae/" + name;
  return std::filesystem::exists(path) ? path : std::string();
}

// One row of the file after the other; stops the test at a broken one.
template <class Row>
void for_each_row(const std::string& path, const Row& row) {
  Result<CsvReader> reader = CsvReader::open(path);
  ASSERT_TRUE(reader) << reader.error().what;
  while (true) {
    const Result<bool> more = reader->next();
    ASSERT_TRUE(more) << more.error().what;
    if (!*more) return;
    row(*reader);
  }
}
inline std::int64_t whole_of(const CsvReader& reader, const std::string& column) {
  const Result<std::optional<std::int64_t>> value = reader.integer(column);
  if (!value || !*value) {
    ADD_FAILURE() << reader.place() << ": " << column;
    return 0;
  }
  return **value;
}
inline double real_of(const CsvReader& reader, const std::string& column) {
  const Result<std::optional<double>> value = reader.number(column);
  if (!value || !*value) {
    ADD_FAILURE() << reader.place() << ": " << column;
    return 0;
  }
  return **value;
}

}  // namespace moesim
