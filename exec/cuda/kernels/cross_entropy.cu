#include "exec/cuda/kernels/cross_entropy.hpp"

#include "exec/cuda/kernels/device.cuh"

namespace moesim::gpu {
namespace {

// The column of a row's label, or -1 where another part holds it or there is none.
__device__ std::int64_t label_column(const VocabularyPart& part, std::int64_t row) {
  const std::int64_t label = part.labels[row];
  const std::int64_t column = label - part.first;
  return label >= 0 && column >= 0 && column < part.valid ? column : -1;
}

template <int kWidth>
__global__ void cross_entropy_kernel(VocabularyPart part, Operand logits, Operand statistics) {
  for (std::int64_t row = blockIdx.x; row < logits.rows; row += gridDim.x) {
    float largest = -INFINITY;
    for (std::int64_t c = threadIdx.x * kWidth; c < part.valid; c += blockDim.x * kWidth) {
      float values[kWidth];
      load(logits, row * logits.stride + c, values);
#pragma unroll
      for (int i = 0; i < kWidth; ++i)
        if (c + i < part.valid) largest = fmaxf(largest, values[i]);
    }
    largest = block_reduce(largest, -INFINITY, Largest());
    float sum = 0.0F;
    for (std::int64_t c = threadIdx.x * kWidth; c < part.valid; c += blockDim.x * kWidth) {
      float values[kWidth];
      load(logits, row * logits.stride + c, values);
#pragma unroll
      for (int i = 0; i < kWidth; ++i)
        if (c + i < part.valid) sum += expf(values[i] - largest);
    }
    sum = block_reduce(sum, 0.0F, Sum());
    if (threadIdx.x != 0) continue;  // no barrier follows before the next row's, which thread 0 reaches too
    const std::int64_t label = label_column(part, row);
    fp32_at(statistics, row, 0) = largest;
    fp32_at(statistics, row, 1) = sum;
    fp32_at(statistics, row, 2) = label >= 0 ? load_one(logits, row, label) : 0.0F;
  }
}

// The factor of a part's sum; a part that is all padding has -infinity and counts nothing, instead of e^(inf - inf).
__device__ float exp_below(float x, float largest) { return x == -INFINITY ? 0.0F : expf(x - largest); }

__global__ void combine_kernel(Operand part, Operand combined, Combine how) {
  for (std::int64_t row = thread_of_row(); row < combined.rows; row += threads_of_row()) {
    float largest = fp32_at(part, row, 0);
    float sum = fp32_at(part, row, 1);
    float label = fp32_at(part, row, 2);
    if (how == Combine::kNext) {
      const float before = fp32_at(combined, row, 0);
      const float higher = fmaxf(largest, before);
      sum = sum * exp_below(largest, higher) + fp32_at(combined, row, 1) * exp_below(before, higher);
      label += fp32_at(combined, row, 2);
      largest = higher;
    }
    fp32_at(combined, row, 0) = largest;
    fp32_at(combined, row, 1) = sum;
    fp32_at(combined, row, 2) = label;
  }
}

// One block, so that the sum repeats bit by bit.
__global__ void loss_sum_kernel(const std::int32_t* labels, Operand statistics, double* total) {
  double sum = 0.0;
  for (std::int64_t row = threadIdx.x; row < statistics.rows; row += blockDim.x) {
    if (labels[row] < 0) continue;
    sum += static_cast<double>(fp32_at(statistics, row, 0)) + log(static_cast<double>(fp32_at(statistics, row, 1))) -
           static_cast<double>(fp32_at(statistics, row, 2));
  }
  sum = block_reduce(sum, 0.0, Sum());
  if (threadIdx.x == 0) *total += sum;
}

template <int kWidth>
__global__ void cross_entropy_grad_kernel(VocabularyPart part, Operand logits, Operand statistics, float scale,
                                          Operand glogits) {
  for (std::int64_t row = blockIdx.x; row < logits.rows; row += gridDim.x) {
    const bool counts = part.labels[row] >= 0;
    const std::int64_t label = label_column(part, row);
    const float largest = fp32_at(statistics, row, 0);
    const float factor = scale / fp32_at(statistics, row, 1);
    for (std::int64_t c = threadIdx.x * kWidth; c < logits.columns; c += blockDim.x * kWidth) {
      float values[kWidth];
      load(logits, row * logits.stride + c, values);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        const float g = expf(values[i] - largest) * factor - (c + i == label ? scale : 0.0F);
        values[i] = counts && c + i < part.valid ? g : 0.0F;
      }
      store(glogits, row * glogits.stride + c, values);
    }
  }
}

}  // namespace

void cross_entropy(Stream stream, const VocabularyPart& part, const Operand& logits, const Operand& statistics) {
  if (is_wide(logits))
    launch(cross_entropy_kernel<kWideColumns>, block_per_row(logits.rows, part.valid, kWideColumns), stream, part,
           logits, statistics);
  else
    launch(cross_entropy_kernel<1>, block_per_row(logits.rows, part.valid, 1), stream, part, logits, statistics);
}

void combine_loss(Stream stream, const Operand& part, const Operand& combined, Combine how) {
  launch(combine_kernel, over_elements(1, combined.rows, 1), stream, part, combined, how);
}

void loss_sum(Stream stream, const std::int32_t* labels, const Operand& statistics, double* sum) {
  launch(loss_sum_kernel, Geometry{1, 1, kBlockThreads}, stream, labels, statistics, sum);
}

void cross_entropy_grad(Stream stream, const VocabularyPart& part, const Operand& logits, const Operand& statistics,
                        float scale, const Operand& glogits) {
  if (all_wide({logits, glogits}))
    launch(cross_entropy_grad_kernel<kWideColumns>, block_per_row(logits.rows, logits.columns, kWideColumns), stream,
           part, logits, statistics, scale, glogits);
  else
    launch(cross_entropy_grad_kernel<1>, block_per_row(logits.rows, logits.columns, 1), stream, part, logits,
           statistics, scale, glogits);
}

}  // namespace moesim::gpu
