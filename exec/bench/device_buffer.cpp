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
  constexpr std::int64_t kMost = 64;
  constexpr std::int64_t kTogether = std::int64_t{32} << 20;
  const std::int64_t each = std::max<std::int64_t>(1, storage(rows * columns, type).count());
  MatricesInTurn all;
  for (std::int64_t i = 0; i < std::clamp<std::int64_t>(kTogether / each, 1, kMost); ++i) {
    MOESIM_ASSIGN(DeviceMatrixBuffer one, matrix(context, rows, columns, type));
    all.matrices_.push_back(std::move(one));
  }
  return all;
}

}  // namespace moesim
