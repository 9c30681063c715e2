#include "exec/bench/device_buffer.hpp"

#include <algorithm>
#include <bit>

#include "traces/random.hpp"

namespace moesim {
namespace {

Result<OwnedMemory> filled(BenchContext& context, const void* host, Bytes size) {
  ComputeBackend& backend = context.backend;
  MOESIM_ASSIGN(void* const memory, backend.allocate(size));
  OwnedMemory owned(memory, [&backend](void* last) { backend.free(last); });
  MOESIM_TRY(backend.copy_in(context.stream, memory, host, size));
  MOESIM_TRY(backend.synchronize(context.stream));
  return owned;
}

}  // namespace

Result<OwnedMemory> numbers(BenchContext& context, std::int64_t elements, DType type) {
  if (type != DType::kFp32 && type != DType::kBf16)
    return fail(ErrorKind::kInternal, "buffers to measure with are fp32 or bf16");  // as the kernels are
  // A few thousand numbers over and over: filling must not take longer than measuring.
  constexpr std::size_t kDifferent = 4093;
  Pcg32 random(static_cast<std::uint64_t>(elements));
  std::vector<float> few(std::min(kDifferent, static_cast<std::size_t>(elements)));
  for (float& value : few) value = static_cast<float>(random.next() >> 8) * 0x1p-23F - 1.0F;
  const auto fill = [&]<class T>(std::vector<T> host, auto convert) {
    for (std::size_t i = 0; i < host.size(); ++i) host[i] = i < few.size() ? convert(few[i]) : host[i - few.size()];
    return filled(context, host.data(), storage(elements, type));
  };
  const auto count = static_cast<std::size_t>(elements);
  if (type == DType::kFp32) return fill(std::vector<float>(count), [](float value) { return value; });
  return fill(std::vector<std::uint16_t>(count),
              [](float value) { return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16); });
}

Result<OwnedMemory> indices(BenchContext& context, const std::vector<std::int32_t>& values) {
  return filled(context, values.data(), Bytes(std::ssize(values) * 4));
}

Result<DeviceMatrixBuffer> matrix(BenchContext& context, std::int64_t rows, std::int64_t columns, DType type) {
  MOESIM_ASSIGN(OwnedMemory memory, numbers(context, rows * columns, type));
  void* const data = memory.get();
  return DeviceMatrixBuffer{std::move(memory), dense_view(data, type, rows, columns)};
}

Result<MatricesInTurn> MatricesInTurn::make(BenchContext& context, std::int64_t rows, std::int64_t columns,
                                            DType type) {
  MOESIM_ASSIGN(const DeviceMatrixBuffer first, matrix(context, rows, columns, type));
  return copies(context, first.view);
}

Result<MatricesInTurn> MatricesInTurn::recent(BenchContext& context, std::int64_t rows, std::int64_t columns,
                                              DType type) {
  constexpr std::int64_t kTogether = std::int64_t{8} << 20;  // several times a core's own cache
  MOESIM_ASSIGN(const DeviceMatrixBuffer first, matrix(context, rows, columns, type));
  return copies_of(context, first.view, kTogether);
}

Result<MatricesInTurn> MatricesInTurn::copies(BenchContext& context, const MatrixView& first) {
  // Of 32 MiB a server's last cache still kept most, and reads were twice as fast as from memory.
  constexpr std::int64_t kTogether = std::int64_t{64} << 20;
  return copies_of(context, first, kTogether);
}

Result<MatricesInTurn> MatricesInTurn::copies_of(BenchContext& context, const MatrixView& first,
                                                 std::int64_t together) {
  constexpr std::int64_t kMost = 512;
  constexpr std::int64_t kAlignment = 256;
  const Bytes size = storage(first.rows * first.columns, first.type);
  const std::int64_t stride = std::max(kAlignment, (size.count() + kAlignment - 1) / kAlignment * kAlignment);
  const std::int64_t count = std::clamp<std::int64_t>(together / stride, 1, kMost);
  ComputeBackend& backend = context.backend;
  MatricesInTurn all;
  MOESIM_ASSIGN(void* const memory, backend.allocate(Bytes(count * stride)));
  all.memory_ = OwnedMemory(memory, [&backend](void* last) { backend.free(last); });
  for (std::int64_t i = 0; i < count; ++i) {
    void* const place = static_cast<std::byte*>(memory) + i * stride;
    MOESIM_TRY(backend.copy(context.stream, place, first.data, size));
    all.views_.push_back(dense_view(place, first.type, first.rows, first.columns));
  }
  MOESIM_TRY(backend.synchronize(context.stream));
  return all;
}

}  // namespace moesim
