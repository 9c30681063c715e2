#include "sim/cli/launcher.hpp"

#include <charconv>
#include <cstdlib>
#include <string_view>

namespace moesim {
namespace {

int number_in(const char* variable, int otherwise) {
  const char* value = std::getenv(variable);
  if (value == nullptr) return otherwise;
  const std::string_view text(value);
  int number = otherwise;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

int launched_processes() {
  // Open MPI; MPICH and its kin; Slurm with PMIx, which names only its own count of tasks. A batch script that Slurm runs
  // has that count too, but no PMIx rank.
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"})
    if (const int size = number_in(variable, 1); size > 1) return size;
  return std::getenv("PMIX_RANK") != nullptr ? number_in("SLURM_NTASKS", 1) : 1;
}

bool launcher_yields() { return number_in("OMPI_MCA_mpi_yield_when_idle", 0) != 0; }

int launched_rank() {
  if (launched_processes() == 1) return 0;
  for (const char* variable : {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"})
    if (const int rank = number_in(variable, -1); rank >= 0) return rank;
  return 0;
}

}  // namespace moesim
