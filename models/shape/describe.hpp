// What `moesim model show` says about a model, as data: one row per fact, in reading order.
#pragma once

#include <string>
#include <vector>

#include "models/shape/model_source.hpp"

namespace moesim {

struct DescriptionRow {
  std::string label;
  std::string value;
  bool operator==(const DescriptionRow&) const = default;
};

[[nodiscard]] std::vector<DescriptionRow> describe(const LoadedModel& model);

}  // namespace moesim
