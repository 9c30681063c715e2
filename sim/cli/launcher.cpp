#include "sim/cli/launcher.hpp"

#include <charconv>
#include <cstdlib>
#include <string_view>

namespace moesim {
namespace {

int size_in(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr) return 1;
  const std::string_view text(value);
  int size = 1;
  std::from_chars(text.data(), text.data() + text.size(), size);
  return size;
}

}  // namespace

int launched_processes() {
  // Open MPI; MPICH and its kin; Slurm with PMIx, which names only its own count of tasks. A batch script that Slurm runs
  // has that count too, but no PMIx rank.
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"})
    if (const int size = size_in(variable); size > 1) return size;
  return std::getenv("PMIX_RANK") != nullptr ? size_in("SLURM_NTASKS") : 1;
}

}  // namespace moesim
