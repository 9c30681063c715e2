// Where a model comes from on the command line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "models/shape/model_shape.hpp"

namespace moesim {

struct LoadedModel {
  ModelShape shape;
  std::vector<std::string> notes;  // what the reader assumed or repaired, one line each
};

// "zoo:NAME" (a shipped data file), a path to a Hugging Face config.json, or a path to a plain-field model file
// ({"model_type": "gpt_moe", ...}, docs/inputs.md).
[[nodiscard]] Result<LoadedModel> load_model(const std::string& source);
[[nodiscard]] std::vector<std::string> zoo_names();

}  // namespace moesim
