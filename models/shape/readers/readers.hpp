// One reader per model family behind one narrow interface; the list of them is the only place that knows all.
#pragma once

#include <span>
#include <string_view>

#include "base/error.hpp"
#include "models/shape/config_reader.hpp"
#include "models/shape/model_shape.hpp"

namespace moesim {

struct ModelReader {
  std::span<const std::string_view> model_types;
  // Fills everything but `name` and `model_type`; remarks for the user go to the reader's notes.
  Result<ModelShape> (*read)(ConfigReader& config);
};

[[nodiscard]] std::span<const ModelReader> model_readers();

// For types that no reader knows: fills the slots of a shape from the spellings that families use.
[[nodiscard]] Result<ModelShape> read_by_aliases(ConfigReader& config);

extern const ModelReader kDbrxReader;
extern const ModelReader kDeepseekV2Reader;
extern const ModelReader kDeepseekV3Reader;
extern const ModelReader kGlm4MoeReader;
extern const ModelReader kGptMoeReader;
extern const ModelReader kGptOssReader;
extern const ModelReader kKimiLinearReader;
extern const ModelReader kLlamaReader;
extern const ModelReader kLlama4Reader;
extern const ModelReader kMinimaxM2Reader;
extern const ModelReader kMixtralReader;
extern const ModelReader kOlmoeReader;
extern const ModelReader kPhimoeReader;
extern const ModelReader kQwen2MoeReader;
extern const ModelReader kQwen3MoeReader;
extern const ModelReader kQwen3NextReader;

}  // namespace moesim
