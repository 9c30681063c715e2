// Norms, activations, sums, copies and the optimizer.
#include "exec/bench/memory_kernels.hpp"

namespace moesim {
namespace {

Result<PreparedCase> copy(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const DeviceMatrixBuffer from, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer to, matrix(context, shape.rows, shape.columns, shape.type));
  return runs([&context, from, to, size = shape.bytes(1)] {
    return context.backend.copy(context.stream, to.view.data, from.view.data, size);
  });
}

Result<PreparedCase> add(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const DeviceMatrixBuffer a, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer b, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer y, matrix(context, shape.rows, shape.columns, shape.type));
  return runs([&context, a, b, y] { return context.backend.add(context.stream, {a.view, b.view, y.view}); });
}

Result<PreparedCase> norm(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const DeviceMatrixBuffer x, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer weight, matrix(context, 1, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer y, matrix(context, shape.rows, shape.columns, shape.type));
  return runs([&context, x, weight, y] {
    return context.backend.norm(context.stream, {.x = x.view, .weight = weight.view, .y = y.view});
  });
}

Result<PreparedCase> norm_grad(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const DeviceMatrixBuffer gy, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer x, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer weight, matrix(context, 1, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer gx, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer gw, matrix(context, 1, shape.columns, DType::kFp32));
  return runs([&context, gy, x, weight, gx, gw] {
    return context.backend.norm_grad(context.stream,
                                     {.gy = gy.view, .x = x.view, .weight = weight.view, .gx = gx.view, .gw = gw.view});
  });
}

// `columns` are those of the result; the input has gate and up halves of as many each.
Result<PreparedCase> activation(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const DeviceMatrixBuffer x, matrix(context, shape.rows, 2 * shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer y, matrix(context, shape.rows, shape.columns, shape.type));
  return runs([&context, x, y] {
    return context.backend.activation(context.stream, {ActivationKind::kSwiGlu, x.view, {}, y.view});
  });
}

Result<PreparedCase> activation_grad(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const DeviceMatrixBuffer gy, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer x, matrix(context, shape.rows, 2 * shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer gx, matrix(context, shape.rows, 2 * shape.columns, shape.type));
  return runs([&context, gy, x, gx] {
    return context.backend.activation_grad(context.stream, {ActivationKind::kSwiGlu, gy.view, x.view, {}, gx.view, {}});
  });
}

Result<PreparedCase> optimizer(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const DeviceMatrixBuffer gradient, matrix(context, shape.rows, shape.columns, DType::kFp32));
  MOESIM_ASSIGN(const DeviceMatrixBuffer master, matrix(context, shape.rows, shape.columns, DType::kFp32));
  MOESIM_ASSIGN(const DeviceMatrixBuffer first, matrix(context, shape.rows, shape.columns, DType::kFp32));
  MOESIM_ASSIGN(const DeviceMatrixBuffer second, matrix(context, shape.rows, shape.columns, DType::kFp32));
  MOESIM_TRY(
      context.backend.fill_zero(context.stream, second.view.data, storage(shape.rows * shape.columns, DType::kFp32)));
  MOESIM_ASSIGN(const DeviceMatrixBuffer parameter, matrix(context, shape.rows, shape.columns, shape.type));
  return runs([&context, gradient, master, first, second, parameter] {
    return context.backend.adamw(context.stream, {.settings = {},
                                                  .gradient = gradient.view,
                                                  .master = master.view,
                                                  .first_moment = first.view,
                                                  .second_moment = second.view,
                                                  .parameter = parameter.view});
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
