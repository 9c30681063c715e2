// Every importer of this folder.
#pragma once

#include "traces/formats/format.hpp"

namespace moesim {

extern const TraceFormat kCountsCsv;
extern const TraceFormat kSmartMoeTables;

}  // namespace moesim
