// Rotary positions, embedding and loss.
#include <vector>

#include "exec/bench/memory_kernels.hpp"

namespace moesim {
namespace {

constexpr std::int64_t kVocabulary = 4096;

// 0, 1, 2, ... modulo `below`: positions, tokens, labels.
struct Numbers {
  OwnedMemory memory;
  IndexView view;
};
Result<Numbers> counting(BenchContext& context, std::int64_t count, std::int64_t below) {
  std::vector<std::int32_t> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<std::int32_t>(i * 7 % below));
  Numbers numbers;
  MOESIM_ASSIGN(numbers.memory, indices(context, values));
  numbers.view = {static_cast<const std::int32_t*>(numbers.memory.get()), count};
  return numbers;
}

// Half of the columns are queries, a quarter each keys and values.
RotaryShape rotary_shape(const KernelShape& shape) {
  constexpr std::int64_t kHead = 32;
  return {.q_heads = shape.columns / 2 / kHead,
          .k_heads = shape.columns / 4 / kHead,
          .head_dim = kHead,
          .rotary_dim = kHead};
}

Result<PreparedCase> rotary(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const Numbers positions, counting(context, shape.rows, shape.rows));
  MOESIM_ASSIGN(const DeviceMatrixBuffer x, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const MatricesInTurn y, MatricesInTurn::make(context, shape.rows, shape.columns, shape.type));
  return runs([&context, heads = rotary_shape(shape), positions, x, y] {
    return context.backend.rotary(context.stream,
                                  {heads, positions.view, x.view, std::nullopt, std::nullopt, y.next()});
  });
}

Result<PreparedCase> rotary_grad(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const Numbers positions, counting(context, shape.rows, shape.rows));
  MOESIM_ASSIGN(const DeviceMatrixBuffer gy, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer gx, matrix(context, shape.rows, shape.columns, shape.type));
  return runs([&context, heads = rotary_shape(shape), positions, gy, gx] {
    RotaryGradArgs args;
    args.shape = heads;
    args.positions = positions.view;
    args.gy = gy.view;
    args.gx = gx.view;
    return context.backend.rotary_grad(context.stream, args);
  });
}

Result<PreparedCase> embedding(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const Numbers tokens, counting(context, shape.rows, kVocabulary));
  MOESIM_ASSIGN(const DeviceMatrixBuffer table, matrix(context, kVocabulary, shape.columns, shape.type));
  MOESIM_ASSIGN(const MatricesInTurn y, MatricesInTurn::make(context, shape.rows, shape.columns, shape.type));
  return runs([&context, tokens, table, y] {
    return context.backend.embedding(context.stream, {tokens.view, 0, table.view, y.next()});
  });
}

Result<PreparedCase> embedding_grad(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const Numbers tokens, counting(context, shape.rows, kVocabulary));
  MOESIM_ASSIGN(const DeviceMatrixBuffer gy, matrix(context, shape.rows, shape.columns, shape.type));
  MOESIM_ASSIGN(const DeviceMatrixBuffer table, matrix(context, kVocabulary, shape.columns, DType::kFp32));
  return runs([&context, tokens, gy, table] {
    return context.backend.embedding_grad(context.stream, {tokens.view, 0, gy.view, table.view});
  });
}

struct Loss {
  Numbers labels;
  DeviceMatrixBuffer logits, statistics, sum;
  [[nodiscard]] Status run(BenchContext& context) const {
    MOESIM_TRY(context.backend.cross_entropy(context.stream,
                                             {logits.view, labels.view, 0, logits.view.columns, statistics.view}));
    return context.backend.loss_sum(context.stream,
                                    {statistics.view, labels.view, static_cast<double*>(sum.view.data)});
  }
};

Result<Loss> make_loss(BenchContext& context, const KernelShape& shape) {
  Loss loss;
  MOESIM_ASSIGN(loss.labels, counting(context, shape.rows, shape.columns));
  MOESIM_ASSIGN(loss.logits, matrix(context, shape.rows, shape.columns, DType::kFp32));
  MOESIM_ASSIGN(loss.statistics, matrix(context, shape.rows, 3, DType::kFp32));
  MOESIM_ASSIGN(loss.sum, matrix(context, 1, 2, DType::kFp32));  // room for one double
  MOESIM_TRY(context.backend.fill_zero(context.stream, loss.sum.view.data, Bytes(sizeof(double))));
  return loss;
}

Result<PreparedCase> cross_entropy(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const Loss loss, make_loss(context, shape));
  return runs([&context, loss] { return loss.run(context); });
}

Result<PreparedCase> cross_entropy_grad(BenchContext& context, const KernelShape& shape) {
  MOESIM_ASSIGN(const Loss loss, make_loss(context, shape));
  MOESIM_TRY(loss.run(context));
  MOESIM_ASSIGN(const DeviceMatrixBuffer glogits, matrix(context, shape.rows, shape.columns, DType::kFp32));
  return runs([&context, loss, glogits] {
    return context.backend.cross_entropy_grad(
        context.stream,
        {loss.logits.view, loss.labels.view, 0, loss.logits.view.columns, loss.statistics.view, 1.0F, glogits.view});
  });
}

constexpr MemoryKernelCase kTokenKernels[] = {
    {MemoryKernel::kRotary, rotary, [](const KernelShape& s) { return traffic(s.bytes(1), s.bytes(1)); }},
    {MemoryKernel::kRotaryGrad, rotary_grad, [](const KernelShape& s) { return traffic(s.bytes(1), s.bytes(1)); }},
    {MemoryKernel::kEmbedding, embedding, [](const KernelShape& s) { return scattered(s, s.bytes(1), s.bytes(1)); }},
    {MemoryKernel::kEmbeddingGrad, embedding_grad,
     [](const KernelShape& s) { return scattered(s, s.bytes(1), s.bytes(1)); }},
    {MemoryKernel::kCrossEntropy, cross_entropy,
     [](const KernelShape& s) { return traffic(s.numbers(2 * s.columns), s.numbers(3)); }, KernelFormats::kFp32},
    {MemoryKernel::kCrossEntropyGrad, cross_entropy_grad,
     [](const KernelShape& s) { return traffic(s.numbers(s.columns + 3), s.numbers(s.columns)); },
     KernelFormats::kFp32},
};

}  // namespace

std::span<const MemoryKernelCase> token_kernels() { return kTokenKernels; }

}  // namespace moesim
