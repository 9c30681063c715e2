// A Communicator over MPI, between the processes that mpirun started. In a library of its own (moesim::exec_mpi), so that only
// programs which run under mpirun load MPI.
#pragma once

#include <memory>

#include "base/error.hpp"
#include "exec/comm/communicator.hpp"

namespace moesim {

// `expected_size` is what the launcher said, so that processes which do not find each other (another MPI's launcher) are an error
// instead of N worlds of one. An error in a build without MPI. Once in a process.
//
// Destroying the communicator leaves in good order; with operations unfinished, after an error, or while an exception is on its
// way it ends all processes. All calls must come from one thread at a time. Where ranks outnumber cores, run mpirun
// with `--mca mpi_yield_when_idle 1`, or small messages take milliseconds.
[[nodiscard]] Result<std::unique_ptr<Communicator>> join_mpi_world(int expected_size, CommOptions options);

}  // namespace moesim
