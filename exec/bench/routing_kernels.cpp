// The gate's choice, and what puts token copies in order.
#include <vector>

#include "exec/bench/memory_kernels.hpp"

namespace moesim {
namespace {

constexpr std::int64_t kTopK = 2;
constexpr std::int64_t kExperts = 8;
constexpr std::int64_t kSources = 2;       // whose rows a sort mixes
constexpr std::int64_t kLocalExperts = 4;  // that it sorts them by

// Of a random gate.
struct Routing {
  DeviceMatrixBuffer logits, probabilities, weights;
  OwnedMemory expert_rows, row_of_copy, copy_of_row;
  RoutingMap map;

  [[nodiscard]] Status choose(BenchContext& context) const {
    return context.backend.top_k(context.stream, {.gate = {.top_k = kTopK},
                                                  .logits = logits.view,
                                                  .forced_counts = {},
                                                  .probabilities = probabilities.view,
                                                  .statistics = {}});
  }
  [[nodiscard]] Status build(BenchContext& context) const {
    return context.backend.build_routing(context.stream, {probabilities.view, map});
  }
};

Result<Routing> random_routing(BenchContext& context, std::int64_t tokens) {
  Routing routing;
  MOESIM_ASSIGN(routing.logits, matrix(context, tokens, kExperts, DType::kFp32));
  MOESIM_ASSIGN(routing.probabilities, matrix(context, tokens, 2 * kTopK, DType::kFp32));
  MOESIM_ASSIGN(routing.weights, matrix(context, tokens * kTopK, 1, DType::kFp32));
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
  MOESIM_TRY(routing.choose(context));
  MOESIM_TRY(routing.build(context));
  MOESIM_TRY(context.backend.synchronize(context.stream));
  return routing;
}

Result<PreparedCase> top_k(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const Routing routing, random_routing(context, shape.rows));
  return runs([&context, routing] { return routing.choose(context); });
}

Result<PreparedCase> top_k_grad(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const Routing routing, random_routing(context, shape.rows));
  MOESIM_ASSIGN(const DeviceMatrixBuffer gp, matrix(context, shape.rows, 2 * kTopK, DType::kFp32));
  MOESIM_ASSIGN(const DeviceMatrixBuffer glogits, matrix(context, shape.rows, kExperts, DType::kFp32));
  return runs([&context, routing, gp, glogits] {
    return context.backend.top_k_grad(
        context.stream, {GateSettings{.top_k = kTopK}, gp.view, routing.probabilities.view, routing.logits.view,
                         std::nullopt, glogits.view});
  });
}

// With the map that the executor makes before it moves the first copies of a layer.
Result<PreparedCase> permute(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const Routing routing, random_routing(context, shape.rows));
  MOESIM_ASSIGN(const DeviceMatrixBuffer x, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const MatricesInTurn y, MatricesInTurn::make(context, shape.rows * kTopK, shape.columns, shape.type));
  return runs([&context, routing, x, y]() -> Status {
    MOESIM_TRY(routing.build(context));
    return context.backend.permute(context.stream,
                                   {routing.map, x.view, routing.probabilities.view, y.next(), routing.weights.view});
  });
}

Result<PreparedCase> permute_grad(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const Routing routing, random_routing(context, shape.rows));
  MOESIM_ASSIGN(const DeviceMatrixBuffer gy, matrix(context, shape.rows * kTopK, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer gx, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer gp, matrix(context, shape.rows, 2 * kTopK, DType::kFp32));
  return runs([&context, routing, gy, gx, gp] {
    return context.backend.permute_grad(context.stream, {routing.map, gy.view, routing.weights.view, gx.view, gp.view});
  });
}

Result<PreparedCase> unpermute(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const Routing routing, random_routing(context, shape.rows));
  MOESIM_ASSIGN(const DeviceMatrixBuffer y, matrix(context, shape.rows * kTopK, shape.columns, shape.type));
  MOESIM_ASSIGN(const MatricesInTurn x, MatricesInTurn::make(context, shape.rows, shape.columns, shape.type));
  return runs([&context, routing, x, y] {
    return context.backend.unpermute(context.stream, {routing.map, y.view, std::nullopt, x.next()});
  });
}

Result<PreparedCase> unpermute_grad(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const Routing routing, random_routing(context, shape.rows));
  MOESIM_ASSIGN(const DeviceMatrixBuffer gx, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer gy, matrix(context, shape.rows * kTopK, shape.columns, shape.type));
  return runs([&context, routing, gx, gy] {
    return context.backend.unpermute_grad(context.stream,
                                          {routing.map, gx.view, std::nullopt, std::nullopt, gy.view, std::nullopt});
  });
}

Result<PreparedCase> sort_by_expert(BenchContext& context, const KernelShape& shape) {
  const std::int64_t rows = shape.rows * kTopK;
  MOESIM_ASSIGN(const DeviceMatrixBuffer x, matrix(context, rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const MatricesInTurn y, MatricesInTurn::make(context, rows, shape.columns, shape.type));
  std::vector<std::int64_t> counts(kSources * kLocalExperts, rows / (kSources * kLocalExperts));
  counts.back() += rows % (kSources * kLocalExperts);
  return runs([&context, counts, x, y] {
    return context.backend.sort_rows(context.stream, {counts, kLocalExperts, RowOrder::kByExpert, x.view, y.next()});
  });
}

constexpr MemoryKernelCase kRoutingKernels[] = {
    {MemoryKernel::kTopK, top_k,
     [](const KernelShape& s) { return traffic(s.numbers(kExperts), s.numbers(2 * kTopK)); }, KernelFormats::kFp32},
    {MemoryKernel::kTopKGrad, top_k_grad,
     [](const KernelShape& s) { return traffic(s.numbers(kExperts + 4 * kTopK), s.numbers(kExperts)); },
     KernelFormats::kFp32},
    {MemoryKernel::kPermute, permute,
     [](const KernelShape& s) {
       return scattered(s, s.bytes(1) + s.numbers(2 * kTopK), s.bytes(kTopK) + s.numbers(kTopK));
     }},
    {MemoryKernel::kPermuteGrad, permute_grad,
     [](const KernelShape& s) {
       return scattered(s, s.bytes(kTopK) + s.numbers(kTopK), s.bytes(1) + s.numbers(2 * kTopK));
     }},
    {MemoryKernel::kUnpermute, unpermute,
     [](const KernelShape& s) { return scattered(s, s.bytes(kTopK), s.bytes(1)); }},
    {MemoryKernel::kUnpermuteGrad, unpermute_grad,
     [](const KernelShape& s) { return scattered(s, s.bytes(1), s.bytes(kTopK)); }},
    {MemoryKernel::kSortByExpert, sort_by_expert,
     [](const KernelShape& s) { return scattered(s, s.bytes(kTopK), s.bytes(kTopK)); }},
};

}  // namespace

std::span<const MemoryKernelCase> routing_kernels() { return kRoutingKernels; }

}  // namespace moesim
