// Device memory for the time of some kernels: taken and given back in the order of a stream, so that nobody waits for it.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "exec/cuda/cuda_status.hpp"

namespace moesim {

class Scratch {
 public:
  explicit Scratch(void* stream) : stream_(static_cast<cudaStream_t>(stream)) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    for (void* memory : blocks_) cudaFreeAsync(memory, stream_);
  }

  // Room for `count` numbers, of unknown content; at least for one.
  template <class T>
  [[nodiscard]] Result<T*> take(std::int64_t count) {
    void* memory = nullptr;
    const auto bytes = static_cast<std::size_t>(std::max<std::int64_t>(count, 1)) * sizeof(T);
    MOESIM_TRY(cuda_status(cudaMallocAsync(&memory, bytes, stream_), "taking scratch memory"));
    blocks_.push_back(memory);
    return static_cast<T*>(memory);
  }
  // The same, filled from host memory, which is free again when this returns.
  template <class T>
  [[nodiscard]] Result<T*> take_copy(const T* values, std::int64_t count) {
    MOESIM_ASSIGN(T* const memory, take<T>(count));
    if (count > 0) {
      MOESIM_TRY(cuda_status(
          cudaMemcpyAsync(memory, values, static_cast<std::size_t>(count) * sizeof(T), cudaMemcpyHostToDevice, stream_),
          "filling scratch memory"));
    }
    return memory;
  }

 private:
  cudaStream_t stream_;
  std::vector<void*> blocks_;
};

}  // namespace moesim
