#include "exec/cuda/cuda_devices.hpp"

#include "exec/cuda/cuda_status.hpp"

namespace moesim {

Result<std::vector<Gpu>> find_gpus() {
  int count = 0;
  MOESIM_TRY(cuda_status(cudaGetDeviceCount(&count), "counting devices"));
  if (count == 0) {
    MOESIM_TRY(cuda_status(cudaErrorNoDevice, "counting devices"));
  }
  std::vector<Gpu> gpus;
  for (int device = 0; device < count; ++device) {
    cudaDeviceProp properties;
    MOESIM_TRY(cuda_status(cudaGetDeviceProperties(&properties, device), "asking for a device's properties"));
    gpus.push_back({properties.name, properties.major, properties.minor,
                    Bytes(static_cast<std::int64_t>(properties.totalGlobalMem))});
  }
  return gpus;
}

}  // namespace moesim
