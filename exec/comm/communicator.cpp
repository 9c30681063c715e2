#include "exec/comm/communicator.hpp"

#include <utility>
#include <vector>

namespace moesim {

Result<CommGroup> everyone(Communicator& comm) {
  std::vector<RankId> ranks;
  for (int rank = 0; rank < comm.size(); ++rank) ranks.emplace_back(rank);
  return comm.group(std::move(ranks));
}

}  // namespace moesim
