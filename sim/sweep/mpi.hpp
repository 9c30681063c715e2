// A sweep's transport over MPI. In a library of its own (moesim::mpi), so that only the program loads MPI.
#pragma once

#include <memory>

#include "base/error.hpp"
#include "sim/sweep/transport.hpp"

namespace moesim {

// Joins the other processes that mpirun started; `expected_size` is what the launcher said, so that processes which do not
// find each other (another MPI's launcher) are an error instead of N sweeps over one file. An error in a build without MPI.
// The destructor leaves in good order, or ends all processes when an exception is on its way.
[[nodiscard]] Result<std::unique_ptr<SweepTransport>> join_mpi(int expected_size);

}  // namespace moesim
