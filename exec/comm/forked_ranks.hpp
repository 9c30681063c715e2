// Ranks that are processes of one machine, without a launcher: this process becomes rank 0 and forks the others, which find together
// over TCP (meeting.hpp) and talk over its connections (socket_transport.hpp).
//
// To be called before the program has threads or a GPU, which copies of it could not use. It returns in every process. The others end
// with rank 0, however that ends; rank 0 waits for them when it is done, and ends those that then go on.
#pragma once

#include <sys/types.h>

#include <memory>
#include <vector>

#include "exec/comm/communicator.hpp"
#include "exec/comm/socket_transport.hpp"

namespace moesim {

class ForkedRanks {
 public:
  [[nodiscard]] static Result<ForkedRanks> start(int ranks, const CommOptions& options, EndProcess end_process);
  ForkedRanks(ForkedRanks&&) noexcept = default;
  ForkedRanks& operator=(ForkedRanks&&) = delete;
  ~ForkedRanks();
  [[nodiscard]] Communicator& comm() const { return *comm_; }

 private:
  ForkedRanks() = default;
  std::vector<pid_t> others_;  // of rank 0
  std::unique_ptr<Communicator> comm_;
};

}  // namespace moesim
