#include "exec/run/memory_pool.hpp"

#include <algorithm>
#include <iterator>

namespace moesim {
namespace {

constexpr std::int64_t kAlignment = 256;

std::int64_t rounded_up(std::int64_t bytes) {
  return std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
}

}  // namespace

Result<std::unique_ptr<MemoryPool>> MemoryPool::make(ComputeBackend& backend, Bytes size) {
  std::unique_ptr<MemoryPool> pool(new MemoryPool(backend));
  MOESIM_TRY(pool->add_slab(rounded_up(size.count())));
  pool->first_slab_ = pool->capacity_;
  return pool;
}

MemoryPool::~MemoryPool() {
  MOESIM_ASSERT(used_.empty());
  for (std::byte* slab : slabs_) backend_.free(slab);
}

Status MemoryPool::add_slab(std::int64_t size) {
  MOESIM_ASSIGN(void* memory, backend_.allocate(Bytes(size)));
  auto* slab = static_cast<std::byte*>(memory);
  slabs_.push_back(slab);
  free_[slab] = size;
  capacity_ += Bytes(size);
  return {};
}

Result<void*> MemoryPool::allocate(Bytes size) {
  const std::int64_t wanted = rounded_up(size.count());
  const auto fits = [wanted](const auto& hole) { return hole.second >= wanted; };
  auto hole = std::ranges::find_if(free_, fits);
  if (hole == free_.end()) {
    MOESIM_TRY(add_slab(std::max(wanted, rounded_up(first_slab_.count() / 8))));
    hole = std::ranges::find_if(free_, fits);
  }
  std::byte* block = hole->first;
  const std::int64_t rest = hole->second - wanted;
  free_.erase(hole);
  if (rest > 0) free_[block + wanted] = rest;
  used_[block] = wanted;
  return static_cast<void*>(block);
}

void MemoryPool::free(void* memory) {
  auto* block = static_cast<std::byte*>(memory);
  const auto used = used_.find(block);
  MOESIM_ASSERT(used != used_.end());
  auto hole = free_.emplace(block, used->second).first;
  used_.erase(used);
  const auto begins_slab = [this](std::byte* address) { return std::ranges::find(slabs_, address) != slabs_.end(); };
  if (const auto next = std::next(hole);
      next != free_.end() && hole->first + hole->second == next->first && !begins_slab(next->first)) {
    hole->second += next->second;
    free_.erase(next);
  }
  if (hole == free_.begin() || begins_slab(hole->first)) return;
  if (const auto before = std::prev(hole); before->first + before->second == hole->first) {
    before->second += hole->second;
    free_.erase(hole);
  }
}

}  // namespace moesim
