// What an nccl-tests program measures, by its name. Internal to calibration/import.
#pragma once

#include <optional>
#include <string_view>

#include "models/cost/collective.hpp"

namespace moesim {

struct NcclOperation {
  CollectiveKind kind = CollectiveKind::kAllReduce;
  CollectiveAlgorithm algorithm = CollectiveAlgorithm::kAuto;
};

// The first program named in `text` ("all_reduce_perf", a log called "alltoall-8gpu.txt"); nothing when there is none.
[[nodiscard]] std::optional<NcclOperation> nccl_operation(std::string_view text);

}  // namespace moesim
