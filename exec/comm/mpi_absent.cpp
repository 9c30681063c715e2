// Stands in for mpi_transport.cpp where no MPI was found.
#include "exec/comm/mpi.hpp"

namespace moesim {

Result<std::unique_ptr<Communicator>> join_mpi_world(int /*expected_size*/, CommOptions /*options*/) {
  return fail(ErrorKind::kUsage, "this program was built without MPI and cannot run under mpirun", {},
              "install an MPI and build again");
}

}  // namespace moesim
