#include "exec/compute/cpu/cpu_backend.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "exec/compute/cpu/blas.hpp"

namespace moesim {
namespace {

constexpr std::size_t kAlignment = 256;
// Of pages that address translation is cheap for: with 4 KiB ones, what comes from memory takes up to twice as long on virtual
// machines, whose tables are walked twice (on a Xeon of 2 cores 15 GB/s instead of 8).
constexpr std::size_t kLargePage = std::size_t{2} << 20;

struct CpuEvent {
  bool recorded = false;
};

CpuEvent& event_of(DeviceEvent event) { return *static_cast<CpuEvent*>(event.handle); }

// Regions may be the same one, or empty without an address.
void copy_bytes(void* to, const void* from, Bytes size) {
  if (size.count() > 0) std::memmove(to, from, static_cast<std::size_t>(size.count()));
}

}  // namespace

CpuBackend::CpuBackend(int blas_threads) { set_blas_threads(blas_threads); }

Result<void*> CpuBackend::allocate(Bytes size) {
  const auto bytes = static_cast<std::size_t>(size.count());
  const bool large = bytes >= kLargePage;
  void* memory = nullptr;
  if (size.count() < 0 || ::posix_memalign(&memory, large ? kLargePage : kAlignment, bytes) != 0)
    return fail(ErrorKind::kInternal, fmt::format("this machine does not give {} bytes of memory", size.count()), {},
                "a smaller model, micro-batch or number of ranks per machine needs less");
  // Advice: where the system does not take it, pages are small, and nothing else changes.
  if (large) ::madvise(memory, bytes, MADV_HUGEPAGE);
  return memory;
}

void CpuBackend::free(void* memory) { std::free(memory); }

Status CpuBackend::copy_in(DeviceStream, void* device, const void* host, Bytes size) {
  copy_bytes(device, host, size);
  return {};
}

Status CpuBackend::copy_out(DeviceStream, void* host, const void* device, Bytes size) {
  copy_bytes(host, device, size);
  return {};
}

Status CpuBackend::copy(DeviceStream, void* to, const void* from, Bytes size) {
  copy_bytes(to, from, size);
  return {};
}

Status CpuBackend::fill_zero(DeviceStream, void* device, Bytes size) {
  if (size.count() > 0) std::memset(device, 0, static_cast<std::size_t>(size.count()));
  return {};
}

Result<DeviceEvent> CpuBackend::create_event() { return DeviceEvent{new CpuEvent}; }

void CpuBackend::destroy_event(DeviceEvent event) { delete static_cast<CpuEvent*>(event.handle); }

Status CpuBackend::record(DeviceEvent event, DeviceStream) {
  const std::lock_guard lock(mutex_);
  event_of(event).recorded = true;
  changed_.notify_all();
  return {};
}

Status CpuBackend::wait(DeviceStream, DeviceEvent event) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return cancelled_ || event_of(event).recorded; });
  if (cancelled_)
    return fail(ErrorKind::kInternal, "waiting for another stream was given up because that stream failed");
  return {};
}

void CpuBackend::reset(DeviceEvent event) {
  const std::lock_guard lock(mutex_);
  event_of(event).recorded = false;
}

void CpuBackend::cancel_waits() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  changed_.notify_all();
}

std::unique_ptr<ComputeBackend> make_cpu_backend(int blas_threads) {
  return std::make_unique<CpuBackend>(blas_threads);
}

}  // namespace moesim
