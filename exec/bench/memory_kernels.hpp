// Kernels whose time follows from the bytes they move: how to run each at a given shape, and what the laws are told about it.
//
// Traffic is counted as sim/engine/op_cost.cpp does for the operation of the same name: every operand once.
#pragma once

#include <functional>
#include <span>

#include "exec/bench/device_buffer.hpp"
#include "exec/compute/compute_backend.hpp"
#include "models/cost/work.hpp"

namespace moesim {

struct KernelShape {
  std::int64_t rows = 0;  // tokens
  std::int64_t columns = 0;
  DType type = DType::kFp32;
  [[nodiscard]] Bytes bytes(std::int64_t matrices) const { return storage(matrices * rows * columns, type); }
  // Of FP32 numbers, so many for each token.
  [[nodiscard]] Bytes numbers(std::int64_t per_token) const { return storage(per_token * rows, DType::kFp32); }
};

enum class KernelFormats : std::uint8_t { kAll, kFp32 };  // kFp32: what the kernel writes has this format in every plan

struct MemoryKernelCase {
  MemoryKernel kernel = MemoryKernel::kOther;
  Result<PreparedCase> (*prepare)(BenchContext& context, const KernelShape& shape) = nullptr;
  MemoryWork (*work)(const KernelShape& shape) = nullptr;
  KernelFormats formats = KernelFormats::kAll;
};

// By file: norms, activations, sums, copies and the optimizer; what puts token copies in order; what knows of tokens, positions
// and the vocabulary.
[[nodiscard]] std::span<const MemoryKernelCase> layer_kernels();
[[nodiscard]] std::span<const MemoryKernelCase> routing_kernels();
[[nodiscard]] std::span<const MemoryKernelCase> token_kernels();

[[nodiscard]] inline PreparedCase runs(std::function<Status()> run) { return {.run = std::move(run), .finish = {}}; }
[[nodiscard]] inline MemoryWork traffic(Bytes read, Bytes written) { return {.read = read, .written = written}; }
// Rows are picked one by one.
[[nodiscard]] inline MemoryWork scattered(const KernelShape& shape, Bytes read, Bytes written) {
  return {.read = read, .written = written, .row_bytes = storage(shape.columns, shape.type).count()};
}

}  // namespace moesim
