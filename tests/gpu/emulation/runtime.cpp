// The part of CUDA's runtime that exec/cuda uses, on the host, made so that mistakes in its use show:
//   - work on a stream runs only when somebody waits for it, or asks for the second time whether an event is reached
//   - device memory cannot be read or written but by work on a stream: the host ends with a fault
//   - new memory holds a NaN everywhere; memory that is freed must not have been written behind its end
// One device, and one lock round everything.
#include <cuda_runtime_api.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "tests/gpu/emulation/device.hpp"
#include "tests/gpu/emulation/grid.hpp"

// What the headers call opaque.
struct CUstream_st {
  std::deque<std::function<void()>> work;
  std::uint64_t given = 0, done = 0;
};
struct CUevent_st {
  CUstream_st* stream = nullptr;
  std::uint64_t position = 0;  // of the stream
  std::uint64_t tick = 0;
  bool asked = false;
};

namespace moesim::emulation {
namespace {

constexpr std::size_t kArenaBytes = std::size_t{64} << 30;
constexpr std::size_t kAlignment = 256;
constexpr unsigned char kPoison = 0xFF;  // a NaN of either format
constexpr std::size_t kMostMemory = std::size_t{8} << 30;

struct Device {
  std::recursive_mutex mutex;
  std::byte* arena = nullptr;
  std::size_t used = 0;  // of the arena's addresses
  std::map<std::byte*, std::size_t> blocks;
  std::multimap<std::size_t, std::byte*> free;  // by their room
  std::map<const std::byte*, std::size_t> pinned;
  CUstream_st default_stream;
  std::set<CUstream_st*> streams;
  int working = 0;  // depth of work on streams, which may touch the arena
  std::uint64_t ticks = 0;
};
Device& device() {
  static Device instance;
  return instance;
}
using Lock = std::lock_guard<std::recursive_mutex>;

CUstream_st& stream_of(cudaStream_t stream) { return stream == nullptr ? device().default_stream : *stream; }

void set_access(int access) {
  Device& d = device();
  if (d.used > 0 && ::mprotect(d.arena, d.used, access) != 0) std::abort();
}

template <class Work>
void with_arena(const Work& work) {
  Device& d = device();
  if (d.working++ == 0) set_access(PROT_READ | PROT_WRITE);
  work();
  if (--d.working == 0) set_access(PROT_NONE);
}

void run_one(CUstream_st& stream) {
  const std::function<void()> work = std::move(stream.work.front());
  stream.work.pop_front();
  work();
  ++stream.done;
}

void run_until(CUstream_st& stream, std::uint64_t position) {
  if (stream.done >= position) return;
  with_arena([&] {
    while (stream.done < position) run_one(stream);
  });
}

bool is_device(const void* address) {
  const Device& d = device();
  const auto* bytes = static_cast<const std::byte*>(address);
  return d.arena != nullptr && bytes >= d.arena && bytes < d.arena + kArenaBytes;
}

std::size_t room_for(std::size_t size) {  // with a margin behind it
  return (size + kAlignment - 1) / kAlignment * kAlignment + kAlignment;
}

std::byte* take(std::size_t size) {
  Device& d = device();
  if (d.arena == nullptr)
    d.arena = static_cast<std::byte*>(
        ::mmap(nullptr, kArenaBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  const std::size_t room = room_for(size);
  if (const auto found = d.free.find(room); found != d.free.end()) {
    std::byte* const block = found->second;
    d.free.erase(found);
    d.blocks[block] = size;
    return block;
  }
  std::byte* block = d.arena + d.used;
  const std::size_t pages = (d.used + room + 4095) / 4096 * 4096;
  d.used += room;
  if (::mprotect(d.arena, pages, d.working > 0 ? PROT_READ | PROT_WRITE : PROT_NONE) != 0) std::abort();
  d.blocks[block] = size;
  with_arena([&] { std::memset(block, kPoison, room); });
  return block;
}

void give_back(void* memory) {
  Device& d = device();
  const auto found = d.blocks.find(static_cast<std::byte*>(memory));
  if (found == d.blocks.end()) {
    std::fprintf(stderr, "emulated GPU: memory is freed that was not allocated\n");
    std::abort();
  }
  with_arena([&] {
    const std::byte* end = found->first + found->second;
    for (std::size_t i = 0; i < room_for(found->second) - found->second; ++i)
      if (end[i] != std::byte{kPoison}) {
        std::fprintf(stderr, "emulated GPU: byte %zu behind a block of %zu was written\n", i, found->second);
        std::abort();
      }
    std::memset(found->first, kPoison, found->second);
  });
  d.free.emplace(room_for(found->second), found->first);
  d.blocks.erase(found);
}

}  // namespace

void enqueue(void* stream, std::function<void()> work) {
  const Lock lock(device().mutex);
  CUstream_st& to = stream_of(static_cast<cudaStream_t>(stream));
  to.work.push_back(std::move(work));
  ++to.given;
}

void launch(unsigned blocks_x, unsigned blocks_y, unsigned threads, void* stream, std::function<void()> thread) {
  if (blocks_x == 0 || blocks_y == 0 || blocks_y > 65535 || blocks_x > 0x7FFFFFFFU || threads == 0 || threads > 1024) {
    std::fprintf(stderr, "emulated GPU: %u x %u blocks of %u threads are outside of CUDA's limits\n", blocks_x,
                 blocks_y, threads);
    std::abort();
  }
  enqueue(stream, [=, thread = std::move(thread)] { run_grid(blocks_x, blocks_y, threads, thread); });
}

}  // namespace moesim::emulation

namespace emu = moesim::emulation;
using emu::device;
using emu::Lock;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "emulated GPU");
  properties->major = 9;
  properties->multiProcessorCount = 1;
  properties->totalGlobalMem = emu::kMostMemory;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  *available = *total = emu::kMostMemory;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t) { return "an error of the emulated runtime"; }
const char* cudaGetErrorName(cudaError_t) { return "cudaErrorEmulated"; }

cudaError_t cudaMalloc(void** memory, size_t size) {
  const Lock lock(device().mutex);
  if (size > emu::kMostMemory) return cudaErrorMemoryAllocation;
  *memory = emu::take(size);
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  const Lock lock(device().mutex);
  if (memory == nullptr) return cudaSuccess;
  for (CUstream_st* stream : device().streams) emu::run_until(*stream, stream->given);  // it waits for the device
  emu::give_back(memory);
  return cudaSuccess;
}
cudaError_t cudaMallocAsync(void** memory, size_t size, cudaStream_t) { return cudaMalloc(memory, size); }
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  emu::enqueue(stream, [memory] { emu::give_back(memory); });
  return cudaSuccess;
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMallocHost(void** memory, size_t size) {
  const Lock lock(device().mutex);
  *memory = std::malloc(size);
  device().pinned[static_cast<std::byte*>(*memory)] = size;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) {
  const Lock lock(device().mutex);
  device().pinned.erase(static_cast<std::byte*>(memory));
  std::free(memory);
  return cudaSuccess;
}

// From pageable memory the bytes are taken at once; into pageable memory the call waits, as the driver's does.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t size, cudaMemcpyKind kind, cudaStream_t stream) {
  const Lock lock(device().mutex);
  const auto is_pinned = [](const void* address) {
    const auto& pinned = device().pinned;
    const auto* bytes = static_cast<const std::byte*>(address);
    const auto above = pinned.upper_bound(bytes);
    return above != pinned.begin() && bytes < std::prev(above)->first + std::prev(above)->second;
  };
  if ((kind != cudaMemcpyHostToDevice && !emu::is_device(from)) ||
      (kind != cudaMemcpyDeviceToHost && !emu::is_device(to)) ||
      (kind == cudaMemcpyHostToDevice && emu::is_device(from)) ||
      (kind == cudaMemcpyDeviceToHost && emu::is_device(to))) {
    std::fprintf(stderr, "emulated GPU: a copy between other memories than it says\n");
    std::abort();
  }
  if (kind == cudaMemcpyHostToDevice && !is_pinned(from)) {
    auto taken = std::make_shared<std::vector<std::byte>>(size);
    std::memcpy(taken->data(), from, size);
    emu::enqueue(stream, [=] { std::memcpy(to, taken->data(), size); });
    return cudaSuccess;
  }
  emu::enqueue(stream, [=] { std::memmove(to, from, size); });
  if (kind == cudaMemcpyDeviceToHost && !is_pinned(to)) return cudaStreamSynchronize(stream);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t size, cudaStream_t stream) {
  emu::enqueue(stream, [=] { std::memset(memory, value, size); });
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const Lock lock(device().mutex);
  *stream = new CUstream_st;
  device().streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(device().mutex);
  CUstream_st& own = emu::stream_of(stream);
  emu::run_until(own, own.given);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(device().mutex);
  cudaStreamSynchronize(stream);
  device().streams.erase(stream);  // and leaves it to events that know it
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock(device().mutex);
  if (event->stream == nullptr) return cudaSuccess;
  emu::enqueue(stream, [from = event->stream, position = event->position] { emu::run_until(*from, position); });
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const Lock lock(device().mutex);
  if (event->stream != nullptr) emu::run_until(*event->stream, event->position);  // its stamp refers to it
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(device().mutex);
  emu::enqueue(stream, [event] { event->tick = ++device().ticks; });
  event->stream = &emu::stream_of(stream);
  event->position = event->stream->given;
  event->asked = false;
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Lock lock(device().mutex);
  if (event->stream == nullptr || event->stream->done >= event->position) return cudaSuccess;
  if (!std::exchange(event->asked, true)) return cudaErrorNotReady;
  emu::run_until(*event->stream, event->position);
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  const Lock lock(device().mutex);
  *milliseconds = static_cast<float>(to->tick - from->tick) * 1e-3F;
  return cudaSuccess;
}

}  // extern "C"
