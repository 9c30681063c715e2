// Stands in for mpi_transport.cpp where no MPI was found.
#include "sim/sweep/mpi.hpp"

namespace moesim {

Result<std::unique_ptr<SweepTransport>> join_mpi(int /*expected_size*/) {
  return fail(ErrorKind::kUsage, "this moesim was built without MPI and cannot run under mpirun", {},
              "install an MPI and build again, or start it without mpirun and with --jobs");
}

}  // namespace moesim
