// The GPUs of this machine.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/units.hpp"

namespace moesim {

struct Gpu {
  std::string name;  // "NVIDIA H200"
  int major = 0, minor = 0;
  Bytes memory;
};

// An error (ErrorKind::kNoDevice) where there is none that could be used.
[[nodiscard]] Result<std::vector<Gpu>> find_gpus();

}  // namespace moesim
