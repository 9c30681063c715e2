// Memory of a rank's pool that frees itself, counted by what it is for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>

#include "exec/run/memory_pool.hpp"

namespace moesim {

// Bytes as asked for: held now, and at most so far.
struct MemoryCount {
  Bytes held;
  Bytes peak;
  void add(Bytes bytes) {
    held += bytes;
    peak = std::max(peak, held);
  }
};

class DeviceBuffer {
 public:
  DeviceBuffer(MemoryPool& pool, void* memory, Bytes size, std::shared_ptr<MemoryCount> count)
      : pool_(pool), memory_(memory), size_(size), count_(std::move(count)) {
    count_->add(size_);
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  ~DeviceBuffer() {
    pool_.free(memory_);
    count_->held = Bytes(count_->held.count() - size_.count());
  }
  [[nodiscard]] void* data() const { return memory_; }
  [[nodiscard]] Bytes size() const { return size_; }
  // Host collectives read and write it; the backend's memory is the host's.
  [[nodiscard]] std::span<std::byte> bytes() const {
    return {static_cast<std::byte*>(memory_), static_cast<std::size_t>(size_.count())};
  }
  template <class T>
  [[nodiscard]] T* as() const {
    return static_cast<T*>(memory_);
  }

 private:
  MemoryPool& pool_;
  void* memory_;
  Bytes size_;
  std::shared_ptr<MemoryCount> count_;
};
using BufferPtr = std::shared_ptr<DeviceBuffer>;

// One of the purposes that a pool's memory is counted under.
class DeviceMemory {
 public:
  DeviceMemory() = default;  // of no pool: not to be used
  explicit DeviceMemory(MemoryPool& pool) : pool_(&pool), count_(std::make_shared<MemoryCount>()) {}
  [[nodiscard]] Result<BufferPtr> allocate(Bytes size) {
    MOESIM_ASSIGN(void* memory, pool_->allocate(size));
    return std::make_shared<DeviceBuffer>(*pool_, memory, size, count_);
  }
  [[nodiscard]] Result<BufferPtr> allocate(std::int64_t elements, DType type) {
    return allocate(storage(elements, type));
  }
  [[nodiscard]] const MemoryCount& count() const { return *count_; }

 private:
  MemoryPool* pool_ = nullptr;
  std::shared_ptr<MemoryCount> count_;
};

}  // namespace moesim
