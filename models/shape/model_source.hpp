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

// "zoo:NAME" (a shipped data file), a path to a Hugging Face config.json or to the folder it stands in, or a path to a
// plain-field model file ({"model_type": "gpt_moe", ...}, docs/inputs-model.md). Zoo names are matched without regard
// to case and also by the full hub id: zoo:mixtral-8x7b is zoo:mistralai/Mixtral-8x7B-v0.1.
[[nodiscard]] Result<LoadedModel> load_model(const std::string& source);

// The same from text; `place` is the file name that errors show.
[[nodiscard]] Result<LoadedModel> parse_model(std::string_view text, const std::string& place);

[[nodiscard]] std::vector<std::string> zoo_names();

}  // namespace moesim
