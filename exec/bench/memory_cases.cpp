#include <fmt/format.h>

#include <functional>

#include "exec/bench/cases.hpp"
#include "exec/bench/device_buffer.hpp"

namespace moesim {
namespace {

constexpr std::int64_t kTopK = 2;
constexpr std::int64_t kExperts = 8;

struct Shape {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  DType type = DType::kFp32;
  [[nodiscard]] Bytes bytes(std::int64_t matrices) const { return storage(matrices * rows * columns, type); }
};

PreparedCase runs(std::function<Status()> run) { return {.run = std::move(run), .finish = {}}; }

Result<PreparedCase> copy(BenchContext& context, const Shape& shape) {
  MOESIM_ASSIGN(const DeviceMatrixBuffer from, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer to, matrix(context, shape.rows, shape.columns, shape.type));
  return runs([&context, from, to, size = shape.bytes(1)] {
    return context.backend.copy(context.stream, to.view.data, from.view.data, size);
  });
}

Result<PreparedCase> add(BenchContext& context, const Shape& shape) {
  MOESIM_ASSIGN(const DeviceMatrixBuffer a, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer b, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer y, matrix(context, shape.rows, shape.columns, shape.type));
  return runs([&context, a, b, y] { return context.backend.add(context.stream, {a.view, b.view, y.view}); });
}

Result<PreparedCase> norm(BenchContext& context, const Shape& shape) {
  MOESIM_ASSIGN(const DeviceMatrixBuffer x, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer weight, matrix(context, 1, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer y, matrix(context, shape.rows, shape.columns, shape.type));
  return runs([&context, x, weight, y] {
    return context.backend.norm(context.stream, {.x = x.view, .weight = weight.view, .y = y.view});
  });
}

Result<PreparedCase> norm_grad(BenchContext& context, const Shape& shape) {
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
Result<PreparedCase> activation(BenchContext& context, const Shape& shape) {
  MOESIM_ASSIGN(const DeviceMatrixBuffer x, matrix(context, shape.rows, 2 * shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer y, matrix(context, shape.rows, shape.columns, shape.type));
  return runs([&context, x, y] {
    return context.backend.activation(context.stream, {ActivationKind::kSwiGlu, x.view, {}, y.view});
  });
}

Result<PreparedCase> activation_grad(BenchContext& context, const Shape& shape) {
  MOESIM_ASSIGN(const DeviceMatrixBuffer gy, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer x, matrix(context, shape.rows, 2 * shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer gx, matrix(context, shape.rows, 2 * shape.columns, shape.type));
  return runs([&context, gy, x, gx] {
    return context.backend.activation_grad(context.stream, {ActivationKind::kSwiGlu, gy.view, x.view, {}, gx.view, {}});
  });
}

struct Routing {
  DeviceMatrixBuffer probabilities;
  DeviceMemory expert_rows, row_of_copy, copy_of_row;
  RoutingMap map;
};

// The map of a random gate.
Result<Routing> random_routing(BenchContext& context, std::int64_t tokens) {
  Routing routing;
  MOESIM_ASSIGN(const DeviceMatrixBuffer logits, matrix(context, tokens, kExperts, DType::kFp32));
  MOESIM_ASSIGN(routing.probabilities, matrix(context, tokens, 2 * kTopK, DType::kFp32));
  MOESIM_TRY(context.backend.top_k(context.stream, {.gate = {.top_k = kTopK},
                                                    .logits = logits.view,
                                                    .forced_counts = {},
                                                    .probabilities = routing.probabilities.view,
                                                    .statistics = {}}));
  const auto zeros = [](std::int64_t count) { return std::vector<std::int32_t>(static_cast<std::size_t>(count)); };
  MOESIM_ASSIGN(routing.expert_rows, indices(context, zeros(kExperts)));
  MOESIM_ASSIGN(routing.row_of_copy, indices(context, zeros(tokens * kTopK)));
  MOESIM_ASSIGN(routing.copy_of_row, indices(context, zeros(tokens * kTopK)));
  routing.map = {.tokens = tokens,
                 .top_k = kTopK,
                 .experts = kExperts,
                 .expert_rows = static_cast<std::int32_t*>(routing.expert_rows.get()),
                 .row_of_copy = static_cast<std::int32_t*>(routing.row_of_copy.get()),
                 .copy_of_row = static_cast<std::int32_t*>(routing.copy_of_row.get())};
  MOESIM_TRY(context.backend.build_routing(context.stream, {routing.probabilities.view, routing.map}));
  MOESIM_TRY(context.backend.synchronize(context.stream));
  return routing;
}

Result<PreparedCase> permute(BenchContext& context, const Shape& shape) {
  MOESIM_ASSIGN(const Routing routing, random_routing(context, shape.rows));
  MOESIM_ASSIGN(const DeviceMatrixBuffer x, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer y, matrix(context, shape.rows * kTopK, shape.columns, shape.type));
  return runs([&context, routing, x, y] {
    return context.backend.permute(context.stream, {routing.map, x.view, {}, y.view, {}});
  });
}

Result<PreparedCase> unpermute(BenchContext& context, const Shape& shape) {
  MOESIM_ASSIGN(const Routing routing, random_routing(context, shape.rows));
  MOESIM_ASSIGN(const DeviceMatrixBuffer y, matrix(context, shape.rows * kTopK, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer x, matrix(context, shape.rows, shape.columns, shape.type));
  return runs([&context, routing, x, y] {
    return context.backend.unpermute(context.stream, {routing.map, y.view, routing.probabilities.view, x.view});
  });
}

Result<PreparedCase> optimizer(BenchContext& context, const Shape& shape) {
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

// Traffic as sim/engine/op_cost.cpp counts it: every operand once.
struct Kernel {
  MemoryKernel kernel;
  Result<PreparedCase> (*prepare)(BenchContext& context, const Shape& shape);
  MemoryWork (*work)(const Shape& shape);
};

MemoryWork streams(const Shape& shape, std::int64_t read, std::int64_t written) {
  return {.read = shape.bytes(read), .written = shape.bytes(written)};
}
MemoryWork scattered(const Shape& shape, std::int64_t read, std::int64_t written) {
  MemoryWork work = streams(shape, read, written);
  work.row_bytes = storage(shape.columns, shape.type).count();
  return work;
}

const Kernel kKernels[] = {
    {MemoryKernel::kCopy, copy, [](const Shape& s) { return streams(s, 1, 1); }},
    {MemoryKernel::kAdd, add, [](const Shape& s) { return streams(s, 2, 1); }},
    {MemoryKernel::kNorm, norm, [](const Shape& s) { return streams(s, 1, 1); }},
    {MemoryKernel::kNormGrad, norm_grad, [](const Shape& s) { return streams(s, 2, 1); }},
    {MemoryKernel::kActivation, activation, [](const Shape& s) { return streams(s, 2, 1); }},
    {MemoryKernel::kActivationGrad, activation_grad, [](const Shape& s) { return streams(s, 3, 2); }},
    {MemoryKernel::kPermute, permute, [](const Shape& s) { return scattered(s, 1, kTopK); }},
    {MemoryKernel::kUnpermute, unpermute, [](const Shape& s) { return scattered(s, kTopK, 1); }},
    {MemoryKernel::kOptimizer, optimizer,
     [](const Shape& s) {
       const Bytes fp32 = storage(s.rows * s.columns, DType::kFp32);
       return MemoryWork{.read = fp32 * 4, .written = fp32 * 3 + s.bytes(1)};
     }},
};

}  // namespace

std::vector<PlannedCase> memory_cases(BenchScale scale, const std::vector<std::string>&) {
  const bool small = scale == BenchScale::kSmall;
  using Numbers = std::vector<std::int64_t>;
  const Numbers widths = small ? Numbers{256, 1024} : Numbers{1024, 4096};
  const Numbers lengths = small ? Numbers{4, 16, 64, 256, 1024, 4096} : Numbers{16, 128, 1024, 8192, 32768};
  const std::vector<DType> types =
      small ? std::vector<DType>{DType::kFp32, DType::kBf16} : std::vector<DType>{DType::kBf16};
  std::vector<PlannedCase> cases;
  for (const Kernel& kernel : kKernels)
    for (const DType type : types)
      for (const std::int64_t columns : widths)
        for (const std::int64_t rows : lengths) {
          const Shape shape{rows, columns, type};
          MemoryWork work = kernel.work(shape);
          work.kernel = kernel.kernel;
          work.type = type;
          cases.push_back(
              {.name = fmt::format("{} {} {}x{}", memory_kernel_name(kernel.kernel), dtype_name(type), rows, columns),
               .work = work,
               .prepare = [prepare = kernel.prepare, shape](BenchContext& context) {
                 return prepare(context, shape);
               }});
        }
  return cases;
}

std::vector<PlannedCase> launch_cases(BenchScale, const std::vector<std::string>&) {
  return {{.name = "launch", .work = LaunchWork{}, .prepare = [](BenchContext& context) -> Result<PreparedCase> {
             MOESIM_ASSIGN(const DeviceMatrixBuffer one, matrix(context, 1, 1, DType::kFp32));
             MatrixView nothing = one.view;
             nothing.rows = 0;
             return runs([&context, one, nothing] {
               return context.backend.add(context.stream, {nothing, nothing, nothing});
             });
           }}};
}

}  // namespace moesim
