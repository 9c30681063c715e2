// Does the checkpoint beside a config.json hold as many numbers as the shape says?
//
// model.safetensors.index.json states the bytes of all tensors (metadata.total_size); divided by the bytes per number of
// torch_dtype (or dtype) it should equal ParameterCounts::stored(). A difference above 0.1 % is worth a remark. Says
// nothing where the file is absent, or where the checkpoint is quantised or of a format without a size.
#pragma once

#include <optional>
#include <string>

#include "base/json_reader.hpp"
#include "models/shape/model_shape.hpp"

namespace moesim {

// `config` is the root of the config.json that stands at `config_path`.
[[nodiscard]] std::optional<std::string> compare_with_checkpoint(const ModelShape& shape, const JsonReader& config,
                                                                 const std::string& config_path);

}  // namespace moesim
