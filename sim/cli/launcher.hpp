// How many processes a launcher (mpirun, mpiexec, srun) started this command as. Read from the environment, so that a
// command started by hand never touches MPI.
#pragma once

namespace moesim {

// 1 without a launcher.
[[nodiscard]] int launched_processes();
// Whether it was told to let ranks that wait give their cores away, as Open MPI's mpi_yield_when_idle does where ranks outnumber
// cores.
[[nodiscard]] bool launcher_yields();
// Which of them this one is; 0 without a launcher.
[[nodiscard]] int launched_rank();

}  // namespace moesim
