// A rank's memory: one slab from the device, as large as the memory walk says, cut into blocks by first fit.
//
// What does not fit takes a further slab, of at least an eighth of the first, and is counted: with learned gates no walk knows
// the loads beforehand, and blocks leave gaps. Blocks begin at multiples of 256 bytes. Freed neighbours become one again.
// Not for several threads: a pool belongs to one rank.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <vector>

#include "exec/compute/compute_backend.hpp"

namespace moesim {

class MemoryPool {
 public:
  // `backend` must outlive the pool, and the pool all of its blocks.
  [[nodiscard]] static Result<std::unique_ptr<MemoryPool>> make(ComputeBackend& backend, Bytes size);
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;
  ~MemoryPool();

  [[nodiscard]] Result<void*> allocate(Bytes size);
  void free(void* block);
  [[nodiscard]] Bytes capacity() const { return capacity_; }      // of all slabs
  [[nodiscard]] Bytes first_slab() const { return first_slab_; }  // what the walk asked for

 private:
  explicit MemoryPool(ComputeBackend& backend) : backend_(backend) {}
  [[nodiscard]] Status add_slab(std::int64_t size);

  ComputeBackend& backend_;
  std::map<std::byte*, std::int64_t> free_;  // size by address
  std::map<std::byte*, std::int64_t> used_;
  std::vector<std::byte*> slabs_;
  Bytes capacity_;
  Bytes first_slab_;
};

}  // namespace moesim
