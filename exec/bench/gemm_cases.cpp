#include <fmt/format.h>

#include "exec/bench/cases.hpp"
#include "exec/bench/device_buffer.hpp"

namespace moesim {
namespace {

enum class Pass : std::uint8_t { kForward, kInputGradient, kWeightGradient };

struct Layer {
  std::int64_t in = 0;
  std::int64_t out = 0;
};

// The forward pass at all numbers of rows and layers; the gradients, which read their operands in another order, at some.
struct GemmGrid {
  std::vector<std::int64_t> rows;
  std::vector<Layer> layers;
  std::vector<std::int64_t> gradient_rows;
  std::vector<Layer> gradient_layers;
  std::vector<DType> types;
};

GemmGrid grid_of(BenchScale scale) {
  if (scale == BenchScale::kSmall)
    return {.rows = {1, 4, 8, 16, 32, 64, 128, 256, 512, 1024},
            .layers = {{64, 64},
                       {64, 256},
                       {256, 64},
                       {256, 256},
                       {256, 1024},
                       {1024, 256},
                       {512, 512},
                       {512, 2048},
                       {2048, 512},
                       {1024, 1024}},
            .gradient_rows = {4, 16, 64, 256, 1024},
            .gradient_layers = {{64, 64}, {64, 256}, {256, 64}, {256, 256}, {256, 1024}, {1024, 256}, {512, 512}},
            .types = {DType::kFp32, DType::kBf16}};
  // Experts of Qwen3-30B-A3B, DeepSeek-V3 and Mixtral-8x7B, and squares.
  return {.rows = {1, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192},
          .layers = {{2048, 1536},
                     {768, 2048},
                     {7168, 4096},
                     {2048, 7168},
                     {4096, 28672},
                     {14336, 4096},
                     {4096, 4096},
                     {8192, 8192}},
          .gradient_rows = {128, 1024, 8192},
          .gradient_layers = {{2048, 1536}, {7168, 4096}, {14336, 4096}, {4096, 4096}},
          .types = {DType::kBf16}};
}

GemmWork work_of(Pass pass, std::int64_t rows, Layer layer, DType type) {
  switch (pass) {
    case Pass::kForward: return {.m = rows, .n = layer.out, .k = layer.in, .type = type, .output = type};
    case Pass::kInputGradient: return {.m = rows, .n = layer.in, .k = layer.out, .type = type, .output = type};
    case Pass::kWeightGradient: break;
  }
  return {.m = layer.in, .n = layer.out, .k = rows, .type = type, .output = DType::kFp32};
}

// In turn: weights and their gradients, and the activations that the forward pass keeps for the backward pass.
Result<PreparedCase> prepare(BenchContext& context, Pass pass, std::int64_t rows, Layer layer, DType type) {
  const bool gradient = pass == Pass::kWeightGradient;
  MOESIM_ASSIGN(const MatricesInTurn w,
                MatricesInTurn::make(context, layer.in, layer.out, gradient ? DType::kFp32 : type));
  if (pass == Pass::kForward) {
    MOESIM_ASSIGN(const DeviceMatrixBuffer x, matrix(context, rows, layer.in, type));
    MOESIM_ASSIGN(const MatricesInTurn y, MatricesInTurn::make(context, rows, layer.out, type));
    return PreparedCase{.run =
                            [&context, x, w, y] {
                              return context.backend.gemm(context.stream, {x.view, w.next(), y.next()});
                            },
                        .finish = {}};
  }
  MOESIM_ASSIGN(const DeviceMatrixBuffer gy, matrix(context, rows, layer.out, type));
  if (pass == Pass::kInputGradient) {
    MOESIM_ASSIGN(const DeviceMatrixBuffer gx, matrix(context, rows, layer.in, type));
    return PreparedCase{.run =
                            [&context, gy, w, gx] {
                              return context.backend.gemm_dgrad(context.stream, {gy.view, w.next(), gx.view});
                            },
                        .finish = {}};
  }
  MOESIM_ASSIGN(const MatricesInTurn x, MatricesInTurn::make(context, rows, layer.in, type));
  return PreparedCase{.run =
                          [&context, x, gy, w] {
                            return context.backend.gemm_wgrad(context.stream, {x.next(), gy.view, w.next()});
                          },
                      .finish = {}};
}

PlannedCase planned(Pass pass, std::int64_t rows, Layer layer, DType type) {
  constexpr std::string_view kNames[] = {"", " input gradient", " weight gradient"};
  const GemmWork work = work_of(pass, rows, layer, type);
  return {.name = fmt::format("gemm {} {}x{}x{}{}", dtype_name(type), work.m, work.n, work.k,
                              kNames[static_cast<std::size_t>(pass)]),
          .work = work,
          .prepare = [=](BenchContext& context) { return prepare(context, pass, rows, layer, type); }};
}

}  // namespace

std::vector<PlannedCase> gemm_cases(BenchScale scale, const std::vector<std::string>&) {
  const GemmGrid grid = grid_of(scale);
  std::vector<PlannedCase> cases;
  for (const DType type : grid.types) {
    for (const Layer layer : grid.layers)
      for (const std::int64_t rows : grid.rows) cases.push_back(planned(Pass::kForward, rows, layer, type));
    for (const Pass pass : {Pass::kInputGradient, Pass::kWeightGradient})
      for (const Layer layer : grid.gradient_layers)
        for (const std::int64_t rows : grid.gradient_rows) cases.push_back(planned(pass, rows, layer, type));
  }
  return cases;
}

}  // namespace moesim
