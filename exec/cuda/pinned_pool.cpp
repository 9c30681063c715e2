#include "exec/cuda/pinned_pool.hpp"

#include <algorithm>
#include <bit>

#include "exec/cuda/cuda_status.hpp"

namespace moesim {
namespace {

constexpr std::size_t kSmallest = 4096;

}  // namespace

PinnedPool::~PinnedPool() {
  for (const auto& [room, blocks] : free_)
    for (std::byte* block : blocks) cudaFreeHost(block);
}

Result<std::shared_ptr<PinnedPool::Block>> PinnedPool::take(std::size_t size) {
  const std::size_t room = std::bit_ceil(std::max(size, kSmallest));
  std::vector<std::byte*>& free = free_[room];
  if (free.empty()) {
    void* memory = nullptr;
    MOESIM_TRY(cuda_status(cudaMallocHost(&memory, room), "taking pinned host memory"));
    free.push_back(static_cast<std::byte*>(memory));
  }
  std::byte* const memory = free.back();
  free.pop_back();
  return std::make_shared<Block>(*this, memory, room, size);
}

}  // namespace moesim
