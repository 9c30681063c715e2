// Data files (model zoo, device catalogue, cluster presets, calibration profiles) travel inside the program, so that it
// runs from anywhere. moesim_embed_data() in cmake/MoesimTargets.cmake makes the functions that return these.
#pragma once

#include <string_view>

namespace moesim {

struct EmbeddedFile {
  std::string_view name;  // the file's name without folder and suffix
  std::string_view content;
};

}  // namespace moesim
