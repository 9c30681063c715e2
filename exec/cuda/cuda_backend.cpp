#include "exec/cuda/cuda_backend.hpp"

#include <fmt/format.h>

#include <limits>

#include "exec/cuda/cuda_devices.hpp"
#include "exec/cuda/cuda_status.hpp"

namespace moesim {
namespace {

cudaStream_t cuda(DeviceStream stream) { return static_cast<cudaStream_t>(stream.handle); }
cudaEvent_t cuda(DeviceEvent event) { return static_cast<cudaEvent_t>(event.handle); }
std::size_t count_of(Bytes size) { return static_cast<std::size_t>(size.count()); }

// Scratch memory that was given back is kept for the next kernel; by default every wait would return it to the system.
Status keep_scratch(int device) {
  cudaMemPool_t pool = nullptr;
  MOESIM_TRY(cuda_status(cudaDeviceGetDefaultMemPool(&pool, device), "asking for the device's memory pool"));
  std::uint64_t threshold = std::numeric_limits<std::uint64_t>::max();
  return cuda_status(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold),
                     "setting up the device's memory pool");
}

Status copy_bytes(DeviceStream stream, void* to, const void* from, Bytes size, cudaMemcpyKind kind) {
  if (size.count() == 0) return {};
  return cuda_status(cudaMemcpyAsync(to, from, count_of(size), kind, cuda(stream)), "copying");
}

}  // namespace

Result<std::unique_ptr<CudaBackend>> CudaBackend::make(int device, const CublasApi& cublas) {
  MOESIM_ASSIGN(const std::vector<Gpu> gpus, find_gpus());
  if (device < 0 || device >= static_cast<int>(gpus.size()))
    return fail(ErrorKind::kNoDevice, fmt::format("there is no GPU {}; this machine has {}", device, gpus.size()), {},
                "--device counts from 0");
  std::unique_ptr<CudaBackend> backend(new CudaBackend(device, cublas));
  MOESIM_TRY(backend->select());
  MOESIM_TRY(keep_scratch(device));
  MOESIM_ASSIGN(backend->exchange_, backend->create_stream());
  if (const cublasStatus_t status = cublas.create(&backend->handle_); status != CUBLAS_STATUS_SUCCESS)
    return fail(ErrorKind::kInternal,
                fmt::format("cuBLAS does not start on GPU {}: status {}", device, static_cast<int>(status)));
  return backend;
}

CudaBackend::~CudaBackend() {
  if (!select()) return;
  if (handle_ != nullptr) cublas_.destroy(handle_);
  if (exchange_.handle != nullptr) destroy_stream(exchange_);
}

Status CudaBackend::select() const { return cuda_status(cudaSetDevice(device_), "choosing the device"); }

Status CudaBackend::launched(std::string_view kernel) const { return cuda_status(cudaGetLastError(), kernel); }

bool CudaBackend::owns(const void* address) const {
  const auto* place = static_cast<const std::byte*>(address);
  const std::lock_guard lock(memory_mutex_);
  const auto above = blocks_.upper_bound(place);
  if (above == blocks_.begin()) return false;
  const auto& [begin, size] = *std::prev(above);
  return place < begin + size;
}

Result<void*> CudaBackend::allocate(Bytes size) {
  MOESIM_TRY(select());
  void* memory = nullptr;
  if (size.count() < 0 || cudaMalloc(&memory, count_of(size)) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());  // is told here
    return fail(ErrorKind::kInternal, fmt::format("GPU {} does not give {} bytes of memory", device_, size.count()), {},
                "a smaller model, micro-batch or number of ranks per GPU needs less");
  }
  const std::lock_guard lock(memory_mutex_);
  if (memory != nullptr) blocks_[static_cast<const std::byte*>(memory)] = size.count();
  return memory;
}

void CudaBackend::free(void* memory) {
  if (memory == nullptr || !select()) return;
  {
    const std::lock_guard lock(memory_mutex_);
    blocks_.erase(static_cast<const std::byte*>(memory));
  }
  cudaFree(memory);
}

Status CudaBackend::copy_in(DeviceStream stream, void* device, const void* host, Bytes size) {
  MOESIM_TRY(select());
  return copy_bytes(stream, device, host, size, cudaMemcpyHostToDevice);
}

Status CudaBackend::copy_out(DeviceStream stream, void* host, const void* device, Bytes size) {
  MOESIM_TRY(select());
  return copy_bytes(stream, host, device, size, cudaMemcpyDeviceToHost);
}

Status CudaBackend::copy(DeviceStream stream, void* to, const void* from, Bytes size) {
  MOESIM_TRY(select());
  return copy_bytes(stream, to, from, size, cudaMemcpyDeviceToDevice);
}

Status CudaBackend::fill_zero(DeviceStream stream, void* device, Bytes size) {
  MOESIM_TRY(select());
  if (size.count() == 0) return {};
  return cuda_status(cudaMemsetAsync(device, 0, count_of(size), cuda(stream)), "filling with zeros");
}

// Not ordered with the default stream, which other libraries may use.
Result<DeviceStream> CudaBackend::create_stream() {
  MOESIM_TRY(select());
  cudaStream_t stream = nullptr;
  MOESIM_TRY(cuda_status(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream"));
  return DeviceStream{stream};
}

void CudaBackend::destroy_stream(DeviceStream stream) { cudaStreamDestroy(cuda(stream)); }

Status CudaBackend::synchronize(DeviceStream stream) {
  MOESIM_TRY(select());
  return cuda_status(cudaStreamSynchronize(cuda(stream)), "waiting for a stream");
}

Result<DeviceEvent> CudaBackend::create_event() {
  MOESIM_TRY(select());
  cudaEvent_t event = nullptr;
  MOESIM_TRY(cuda_status(cudaEventCreateWithFlags(&event, cudaEventDefault), "making an event"));
  return DeviceEvent{event};
}

void CudaBackend::destroy_event(DeviceEvent event) { cudaEventDestroy(cuda(event)); }

Status CudaBackend::record(DeviceEvent event, DeviceStream stream) {
  MOESIM_TRY(select());
  return cuda_status(cudaEventRecord(cuda(event), cuda(stream)), "recording an event");
}

Status CudaBackend::wait(DeviceStream stream, DeviceEvent event) {
  MOESIM_TRY(select());
  return cuda_status(cudaStreamWaitEvent(cuda(stream), cuda(event), 0), "letting a stream wait");
}

Result<bool> CudaBackend::reached(DeviceEvent event) {
  MOESIM_TRY(select());
  const cudaError_t state = cudaEventQuery(cuda(event));
  if (state == cudaErrorNotReady) return false;
  MOESIM_TRY(cuda_status(state, "asking for an event"));
  return true;
}

Result<Seconds> CudaBackend::elapsed(DeviceEvent from, DeviceEvent to) {
  MOESIM_TRY(select());
  float milliseconds = 0.0F;
  MOESIM_TRY(cuda_status(cudaEventElapsedTime(&milliseconds, cuda(from), cuda(to)), "reading the device's clock"));
  return Seconds(static_cast<double>(milliseconds) * 1e-3);
}

}  // namespace moesim
