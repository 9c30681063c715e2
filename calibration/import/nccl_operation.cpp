#include "calibration/import/nccl_operation.hpp"

#include <array>
#include <string>
#include <utility>

#include "base/text.hpp"

namespace moesim {

std::optional<NcclOperation> nccl_operation(std::string_view text) {
  constexpr CollectiveAlgorithm kAuto = CollectiveAlgorithm::kAuto;
  constexpr CollectiveAlgorithm kPairwise = CollectiveAlgorithm::kPairwise;
  // alltoallv moves other amounts between pairs than its size says, and so is none of these.
  constexpr std::array<std::pair<std::string_view, NcclOperation>, 11> kNames = {
      {{"all_reduce", {CollectiveKind::kAllReduce, kAuto}},
       {"allreduce", {CollectiveKind::kAllReduce, kAuto}},
       {"all_gather", {CollectiveKind::kAllGather, kAuto}},
       {"allgather", {CollectiveKind::kAllGather, kAuto}},
       {"reduce_scatter", {CollectiveKind::kReduceScatter, kAuto}},
       {"reducescatter", {CollectiveKind::kReduceScatter, kAuto}},
       {"alltoall", {CollectiveKind::kAllToAll, kPairwise}},
       {"all_to_all", {CollectiveKind::kAllToAll, kPairwise}},
       {"broadcast", {CollectiveKind::kBroadcast, kAuto}},
       {"sendrecv", {CollectiveKind::kSendRecv, kPairwise}},
       {"send_recv", {CollectiveKind::kSendRecv, kPairwise}}}};
  const std::string lower = to_lower(text);
  std::optional<NcclOperation> found;
  std::size_t first = std::string::npos;
  for (const auto& [name, operation] : kNames) {
    const std::size_t at = lower.find(name);
    if (at == std::string::npos || at >= first) continue;
    if (lower.compare(at + name.size(), 1, "v") == 0) continue;
    first = at;
    found = operation;
  }
  return found;
}

}  // namespace moesim
