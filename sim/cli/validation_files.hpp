// The files that `moesim validate` reads, told apart by their columns, as rows of prediction beside measurement.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "calibration/profile.hpp"
#include "sim/report/validation_summary.hpp"

namespace moesim {

// Every row of the file, predicted or skipped with a reason. An unknown header is an error that lists what is known.
[[nodiscard]] Result<std::vector<ComparedRow>> compare_file(const std::string& path, std::span<const Profile> profiles);

}  // namespace moesim
