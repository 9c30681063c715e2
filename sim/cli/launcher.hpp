// How many processes a launcher (mpirun, mpiexec, srun) started this command as. Read from the environment, so that a
// command started by hand never touches MPI.
#pragma once

namespace moesim {

// 1 without a launcher.
[[nodiscard]] int launched_processes();
// Which of them this one is; 0 without a launcher.
[[nodiscard]] int launched_rank();

}  // namespace moesim
