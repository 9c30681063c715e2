// Host memory that the device copies from and to by itself. Taking it from the system takes milliseconds, so what is given back
// is kept: blocks of powers of two. Not for several threads.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/error.hpp"

namespace moesim {

class PinnedPool {
 public:
  PinnedPool() = default;
  PinnedPool(const PinnedPool&) = delete;
  PinnedPool& operator=(const PinnedPool&) = delete;
  ~PinnedPool();

  // A block of this pool that goes back to it; the pool must outlive it.
  class Block {
   public:
    Block(PinnedPool& pool, std::byte* memory, std::size_t room, std::size_t size)
        : pool_(pool), memory_(memory), room_(room), size_(size) {}
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    ~Block() { pool_.free_[room_].push_back(memory_); }
    [[nodiscard]] std::span<std::byte> bytes() const { return {memory_, size_}; }

   private:
    PinnedPool& pool_;
    std::byte* memory_;
    std::size_t room_, size_;
  };
  [[nodiscard]] Result<std::shared_ptr<Block>> take(std::size_t size);

 private:
  std::map<std::size_t, std::vector<std::byte*>> free_;
};

}  // namespace moesim
