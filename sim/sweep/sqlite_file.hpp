// The rows of a sweep as the table `results` of an SQLite 3 file, for result_file.cpp.
#pragma once

#include <string>

#include "base/error.hpp"
#include "sim/sweep/result_file.hpp"

namespace moesim {

[[nodiscard]] Status write_sqlite(const std::string& path, const ResultRows& rows);

}  // namespace moesim
