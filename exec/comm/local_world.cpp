#include "exec/comm/local_world.hpp"

#include <memory>
#include <thread>

#include "exec/comm/host_communicator.hpp"
#include "exec/comm/local_transport.hpp"

namespace moesim {

void run_local_ranks(const LocalWorld& world, const std::function<void(Communicator&)>& rank_main) {
  LocalHub hub(world.hosts);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < hub.size(); ++rank) {
    threads.emplace_back([&world, &rank_main, &hub, rank] {
      auto comm = HostCommunicator::make(std::make_unique<LocalTransport>(hub, RankId(rank)), world.comm);
      MOESIM_ASSERT(comm.has_value());  // there are tags enough
      rank_main(**comm);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace moesim
