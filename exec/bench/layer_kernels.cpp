// Norms, activations, sums, copies and the optimizer.
#include <optional>

#include "exec/bench/memory_kernels.hpp"

namespace moesim {
namespace {

Result<PreparedCase> copy(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const DeviceMatrixBuffer from, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const MatricesInTurn to, MatricesInTurn::make(context, shape.rows, shape.columns, shape.type));
  return runs([&context, from, to, size = shape.bytes(1)] {
    return context.backend.copy(context.stream, to.next().data, from.view.data, size);
  });
}

Result<PreparedCase> add(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const DeviceMatrixBuffer a, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer b, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const MatricesInTurn y, MatricesInTurn::make(context, shape.rows, shape.columns, shape.type));
  return runs([&context, a, b, y] { return context.backend.add(context.stream, {a.view, b.view, y.next()}); });
}

Result<PreparedCase> norm(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const DeviceMatrixBuffer x, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer weight, matrix(context, 1, shape.columns, shape.type));
  MOESIM_ASSIGN(const MatricesInTurn y, MatricesInTurn::make(context, shape.rows, shape.columns, shape.type));
  return runs([&context, x, weight, y] {
    return context.backend.norm(context.stream, {.x = x.view, .weight = weight.view, .y = y.next()});
  });
}

Result<PreparedCase> norm_grad(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const DeviceMatrixBuffer gy, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const MatricesInTurn x, MatricesInTurn::make(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer weight, matrix(context, 1, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer gx, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer gw, matrix(context, 1, shape.columns, DType::kFp32));
  return runs([&context, gy, x, weight, gx, gw] {
    return context.backend.norm_grad(
        context.stream, {.gy = gy.view, .x = x.next(), .weight = weight.view, .gx = gx.view, .gw = gw.view});
  });
}

// `columns` are those of the result; the input has gate and up halves of as many each, or its gradient. Products of experts make
// what is read, and their weights go through the caches meanwhile.
Result<PreparedCase> activation(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const MatricesInTurn x, MatricesInTurn::recent(context, shape.rows, 2 * shape.columns, shape.type));
  MOESIM_ASSIGN(const MatricesInTurn y, MatricesInTurn::make(context, shape.rows, shape.columns, shape.type));
  return runs([&context, x, y] {
    return context.backend.activation(context.stream, {ActivationKind::kSwiGlu, x.next(), {}, y.next()});
  });
}

Result<PreparedCase> activation_grad(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const MatricesInTurn gy, MatricesInTurn::recent(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const MatricesInTurn x, MatricesInTurn::make(context, shape.rows, 2 * shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer gx, matrix(context, shape.rows, 2 * shape.columns, shape.type));
  return runs([&context, gy, x, gx] {
    return context.backend.activation_grad(context.stream,
                                           {ActivationKind::kSwiGlu, gy.next(), x.next(), {}, gx.view, {}});
  });
}

// Everything has lain there since the step before. In FP32 the weight is its own master.
Result<PreparedCase> optimizer(BenchContext& context, const KernelShape& shape) {
  const auto states = [&] { return MatricesInTurn::make(context, shape.rows, shape.columns, DType::kFp32); };
  MOESIM_ASSIGN(const MatricesInTurn gradient, states());
  MOESIM_ASSIGN(const MatricesInTurn master, states());
  MOESIM_ASSIGN(const MatricesInTurn first, states());
  MOESIM_ASSIGN(const MatricesInTurn second, states());
  for (std::size_t i = 0; i < second.size(); ++i)
    MOESIM_TRY(context.backend.fill_zero(context.stream, second.next().data,
                                         storage(shape.rows * shape.columns, DType::kFp32)));
  std::optional<MatricesInTurn> narrow;
  if (shape.type != DType::kFp32) {
    MOESIM_ASSIGN(narrow, MatricesInTurn::make(context, shape.rows, shape.columns, shape.type));
  }
  return runs([&context, gradient, master, first, second, narrow] {
    const MatrixView& weight = master.next();
    return context.backend.adamw(context.stream, {.settings = {},
                                                  .gradient = gradient.next(),
                                                  .master = weight,
                                                  .first_moment = first.next(),
                                                  .second_moment = second.next(),
                                                  .parameter = narrow ? narrow->next() : weight});
  });
}

MemoryWork streams(const KernelShape& shape, std::int64_t read, std::int64_t written) {
  return traffic(shape.bytes(read), shape.bytes(written));
}

constexpr MemoryKernelCase kLayerKernels[] = {
    {MemoryKernel::kCopy, copy, [](const KernelShape& s) { return streams(s, 1, 1); }},
    {MemoryKernel::kAdd, add, [](const KernelShape& s) { return streams(s, 2, 1); }},
    {MemoryKernel::kNorm, norm, [](const KernelShape& s) { return streams(s, 1, 1); }},
    {MemoryKernel::kNormGrad, norm_grad, [](const KernelShape& s) { return streams(s, 2, 1); }},
    {MemoryKernel::kActivation, activation, [](const KernelShape& s) { return streams(s, 2, 1); }},
    {MemoryKernel::kActivationGrad, activation_grad, [](const KernelShape& s) { return streams(s, 3, 2); }},
    {MemoryKernel::kOptimizer, optimizer,
     [](const KernelShape& s) {
       const Bytes fp32 = storage(s.rows * s.columns, DType::kFp32);
       return traffic(fp32 * 4, fp32 * 3 + s.bytes(1));
     }},
};

}  // namespace

std::span<const MemoryKernelCase> layer_kernels() { return kLayerKernels; }

}  // namespace moesim
