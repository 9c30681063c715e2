// The safetensors container: 8 bytes of header length (little-endian), a JSON header, the tensors' bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "traces/input/array_view.hpp"

namespace moesim {

// Every tensor, in order of name; the views point into `content`. `name` is the file's, for errors.
[[nodiscard]] Result<std::vector<ArrayView>> parse_safetensors(std::string_view content, const std::string& name);

}  // namespace moesim
