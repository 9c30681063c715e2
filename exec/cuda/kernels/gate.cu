#include "exec/cuda/kernels/gate.hpp"

#include "exec/cuda/kernels/device.cuh"

namespace moesim::gpu {
namespace {

constexpr float kLeastSum = 1e-20F;  // as on the CPU: sigmoids far below any that training produces are all 0 in FP32

// Softmax scores of the chosen, divided by their sum, are the softmax of their logits; computed so, no sum can vanish.
__device__ bool softmax_of_chosen(const Gate& gate) {
  return gate.score == Score::kSoftmaxOfTopk || (gate.score == Score::kSoftmax && gate.normalise);
}

// What turns a token's logits into scores, and scores into shares: the same on all lanes of the warp.
struct TokenSums {
  float largest, sum;
};

__device__ float score_of(const Gate& gate, float logit, const TokenSums& sums) {
  if (gate.score == Score::kSigmoid) return 1.0F / (1.0F + expf(-logit));
  return expf(logit - sums.largest) / sums.sum;
}

__device__ TokenSums token_sums(const Gate& gate, const Operand& logits, std::int64_t token) {
  float largest = -INFINITY;
  for (std::int64_t e = lane_of_warp(); e < logits.columns; e += kWarpThreads)
    largest = fmaxf(largest, load_one(logits, token, e));
  largest = warp_reduce(largest, Largest());
  float sum = 0.0F;
  for (std::int64_t e = lane_of_warp(); e < logits.columns; e += kWarpThreads) {
    const float logit = load_one(logits, token, e);
    sum += gate.score == Score::kSigmoid ? score_of(gate, logit, {}) : expf(logit - largest);
  }
  sum = warp_reduce(sum, Sum());
  return {largest, gate.score == Score::kSigmoid ? fmaxf(sum, kLeastSum) : sum};
}

__device__ float rank_of(float logit) { return logit == logit ? logit : -INFINITY; }  // NaN last

// The better of two candidates: the higher logit, of equal ones the lower expert. An expert below 0 is none.
struct Candidate {
  float rank;
  int expert;
};
__device__ bool is_better(const Candidate& a, const Candidate& b) {
  if (a.expert < 0 || b.expert < 0) return b.expert < 0 && a.expert >= 0;
  return a.rank > b.rank || (a.rank == b.rank && a.expert < b.expert);
}
__device__ Candidate best_of_warp(Candidate own) {
#pragma unroll
  for (int apart = kWarpThreads / 2; apart > 0; apart /= 2) {
    const Candidate other{__shfl_xor_sync(kWholeWarp, own.rank, apart), __shfl_xor_sync(kWholeWarp, own.expert, apart)};
    if (is_better(other, own)) own = other;
  }
  return own;
}

// The best expert that is not marked in this lane's word and has places (places == nullptr: all have). A lane's experts are
// lane, lane + 32, ...; bit i of the word stands for the i-th of them.
__device__ Candidate best_free(const Operand& logits, std::int64_t token, unsigned long long taken,
                               const std::int32_t* places) {
  Candidate best{-INFINITY, -1};
  int bit = 0;
  for (std::int64_t e = lane_of_warp(); e < logits.columns; e += kWarpThreads, ++bit) {
    if ((taken >> bit & 1ULL) != 0 || (places != nullptr && places[e] == 0)) continue;
    const Candidate own{rank_of(load_one(logits, token, e)), static_cast<int>(e)};
    if (is_better(own, best)) best = own;
  }
  return best_of_warp(best);
}

__device__ void mark(unsigned long long& taken, int expert) {
  if (expert % kWarpThreads == lane_of_warp()) taken |= 1ULL << (expert / kWarpThreads);
}

__device__ int chosen_expert(const Operand& probabilities, std::int64_t token, std::int64_t top_k, std::int64_t i) {
  return static_cast<int>(fp32_at(probabilities, token, top_k + i));
}

// Writes the weights of the experts whose ids stand in the token's row.
__device__ void write_weights(const Gate& gate, const Operand& logits, std::int64_t token, const TokenSums& sums,
                              const Operand& probabilities) {
  const std::int64_t k = gate.top_k;
  const bool of_chosen = softmax_of_chosen(gate);
  float largest = -INFINITY;
  for (std::int64_t i = lane_of_warp(); i < k; i += kWarpThreads)
    largest = fmaxf(largest, load_one(logits, token, chosen_expert(probabilities, token, k, i)));
  largest = warp_reduce(largest, Largest());
  float sum = 0.0F;
  for (std::int64_t i = lane_of_warp(); i < k; i += kWarpThreads) {
    const float logit = load_one(logits, token, chosen_expert(probabilities, token, k, i));
    const float weight = of_chosen ? expf(logit - largest) : score_of(gate, logit, sums);
    fp32_at(probabilities, token, i) = weight;  // read back by the same lane
    sum += weight;
  }
  sum = warp_reduce(sum, Sum());
  if (!of_chosen) sum = gate.normalise ? fmaxf(sum, kLeastSum) : 1.0F;
  for (std::int64_t i = lane_of_warp(); i < k; i += kWarpThreads)
    fp32_at(probabilities, token, i) = fp32_at(probabilities, token, i) / sum * gate.scale;
}

__device__ void keep_sums(const Gate& gate, const TokenSums& sums, std::int64_t token, float* kept) {
  if (kept == nullptr || lane_of_warp() != 0) return;
  kept[2 * token] = sums.largest;
  kept[2 * token + 1] = sums.sum;
}

// A warp to a token.
__global__ void choose_kernel(Gate gate, Operand logits, Operand probabilities, float* kept) {
  for (std::int64_t token = first_item(); token < logits.rows; token += items_at_once()) {
    unsigned long long taken = 0;
    for (std::int64_t i = 0; i < gate.top_k; ++i) {
      const Candidate best = best_free(logits, token, taken, nullptr);
      mark(taken, best.expert);
      if (lane_of_warp() == 0) fp32_at(probabilities, token, gate.top_k + i) = static_cast<float>(best.expert);
    }
    __syncwarp();  // all lanes see the ids
    const TokenSums sums = token_sums(gate, logits, token);
    write_weights(gate, logits, token, sums, probabilities);
    keep_sums(gate, sums, token, kept);
  }
}

// Puts the ids of a token's row in the order of falling logits; k is small, one lane sorts by insertion.
__device__ void sort_chosen(const Operand& logits, std::int64_t token, std::int64_t top_k,
                            const Operand& probabilities) {
  if (lane_of_warp() == 0)
    for (std::int64_t i = 1; i < top_k; ++i) {
      const int expert = chosen_expert(probabilities, token, top_k, i);
      const Candidate own{rank_of(load_one(logits, token, expert)), expert};
      std::int64_t to = i;
      for (; to > 0; --to) {
        const int other = chosen_expert(probabilities, token, top_k, to - 1);
        if (!is_better(own, {rank_of(load_one(logits, token, other)), other})) break;
        fp32_at(probabilities, token, top_k + to) = static_cast<float>(other);
      }
      fp32_at(probabilities, token, top_k + to) = static_cast<float>(expert);
    }
  __syncwarp();
}

// One warp. An expert with as many places left as there are tokens left has to take all of them; such experts are at most
// top_k, because all places left together are tokens left times top_k.
__global__ void choose_forced_kernel(Gate gate, Operand logits, std::int32_t* places, Operand probabilities,
                                     float* kept) {
  for (std::int64_t token = 0; token < logits.rows; ++token) {
    unsigned long long taken = 0;
    std::int64_t found = 0;
    const auto take = [&](int expert) {
      mark(taken, expert);
      if (lane_of_warp() == 0) {
        --places[expert];
        fp32_at(probabilities, token, gate.top_k + found) = static_cast<float>(expert);
      }
      ++found;
      __syncwarp();
    };
    const std::int64_t left = logits.rows - token;
    for (std::int64_t first = 0; first < logits.columns; first += kWarpThreads) {
      const std::int64_t own = first + lane_of_warp();
      unsigned must = __ballot_sync(kWholeWarp, own < logits.columns && places[own] == left);
      for (; must != 0; must &= must - 1) take(static_cast<int>(first) + __ffs(static_cast<int>(must)) - 1);
    }
    while (found < gate.top_k) take(best_free(logits, token, taken, places).expert);
    sort_chosen(logits, token, gate.top_k, probabilities);
    const TokenSums sums = token_sums(gate, logits, token);
    write_weights(gate, logits, token, sums, probabilities);
    keep_sums(gate, sums, token, kept);
    __syncwarp();
  }
}

// Integer sums: their order does not show.
__global__ void count_chosen_kernel(std::int64_t top_k, Operand probabilities, std::int32_t* counts) {
  for (std::int64_t copy = thread_of_row(); copy < probabilities.rows * top_k; copy += threads_of_row())
    atomicAdd(&counts[chosen_expert(probabilities, copy / top_k, top_k, copy % top_k)], 1);
}

// A block to 32 experts: each row of 32 threads adds up every eighth token, in double as on the CPU.
__global__ void statistics_kernel(Gate gate, Operand logits, const float* sums, const std::int32_t* counts,
                                  Operand statistics) {
  constexpr int kRows = kBlockThreads / kWarpThreads;
  __shared__ double parts_of_rows[kRows][kWarpThreads];
  const int row = static_cast<int>(threadIdx.x) / kWarpThreads;
  for (std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kWarpThreads; first < logits.columns;
       first += static_cast<std::int64_t>(gridDim.x) * kWarpThreads) {
    const std::int64_t e = first + lane_of_warp();
    double sum = 0.0;
    for (std::int64_t token = row; e < logits.columns && token < logits.rows; token += kRows) {
      const TokenSums of_token{sums[2 * token], sums[2 * token + 1]};
      const float score = score_of(gate, load_one(logits, token, e), of_token);
      sum += static_cast<double>(gate.score == Score::kSigmoid ? score / of_token.sum : score);
    }
    parts_of_rows[row][lane_of_warp()] = sum;
    __syncthreads();
    if (row == 0 && e < logits.columns) {
      for (int i = 1; i < kRows; ++i) sum += parts_of_rows[i][lane_of_warp()];
      fp32_at(statistics, 0, e) = static_cast<float>(counts[e]);
      fp32_at(statistics, 1, e) = static_cast<float>(sum);
    }
    __syncthreads();
  }
}

// The gradient of one token's gate; a warp works on it.
class TokenGradient {
 public:
  __device__ TokenGradient(const Gate& gate, const Operand& gp, const Operand& probabilities, const Operand& logits,
                           const Balance& balance, std::int64_t token)
      : gate_(gate), gp_(gp), probabilities_(probabilities), logits_(logits), balance_(balance), token_(token) {
    sums_ = token_sums(gate, logits, token);
    of_chosen_ = softmax_of_chosen(gate);
    largest_ = -INFINITY;
    for (std::int64_t i = lane_of_warp(); i < gate.top_k; i += kWarpThreads)
      largest_ = fmaxf(largest_, chosen_logit(i));
    largest_ = warp_reduce(largest_, Largest());
    float sum = 0.0F;
    for (std::int64_t i = lane_of_warp(); i < gate.top_k; i += kWarpThreads) sum += unscaled(i);
    sum = warp_reduce(sum, Sum());
    normaliser_ = of_chosen_ ? sum : gate.normalise ? fmaxf(sum, kLeastSum) : 1.0F;
    along_ = 0.0F;
    for (std::int64_t i = lane_of_warp(); i < gate.top_k; i += kWarpThreads)
      along_ += load_one(gp, token, i) * unscaled(i) / normaliser_;
    along_ = of_chosen_ || gate.normalise ? warp_reduce(along_, Sum()) : 0.0F;
  }

  __device__ void write(const Operand& glogits) const {
    const float coupled = coupling();
    for (std::int64_t e = lane_of_warp(); e < logits_.columns; e += kWarpThreads) {
      const float score = score_at(e);
      float g;
      if (gate_.score == Score::kSigmoid)
        g = (of_score(e) + (share_gradient(e) - coupled) / sums_.sum) * score * (1.0F - score);
      else
        g = score * (of_score(e) + share_gradient(e) - coupled);
      if (of_chosen_)
        for (std::int64_t i = 0; i < gate_.top_k; ++i)
          if (chosen(i) == e) g += gate_.scale * unscaled(i) / normaliser_ * (load_one(gp_, token_, i) - along_);
      store_one(glogits, token_, e, g);
    }
  }

 private:
  __device__ std::int64_t chosen(std::int64_t i) const {
    const std::int64_t last = logits_.columns - 1;
    const float id = fp32_at(probabilities_, token_, gate_.top_k + i);
    return id < 0.0F ? 0 : id > static_cast<float>(last) ? last : static_cast<std::int64_t>(id);
  }
  __device__ float chosen_logit(std::int64_t i) const { return load_one(logits_, token_, chosen(i)); }
  // What the weight of the i-th chosen expert is before it is divided and scaled.
  __device__ float unscaled(std::int64_t i) const {
    return of_chosen_ ? expf(chosen_logit(i) - largest_) : score_of(gate_, chosen_logit(i), sums_);
  }
  __device__ float score_at(std::int64_t e) const { return score_of(gate_, load_one(logits_, token_, e), sums_); }
  // d loss / d share of an expert, of the auxiliary loss.
  __device__ float share_gradient(std::int64_t e) const {
    if (balance_.statistics.data == nullptr) return 0.0F;
    return static_cast<float>(balance_.factor * static_cast<double>(fp32_at(balance_.statistics, 0, e)));
  }
  // d loss / d score of an expert, through the weights of the chosen.
  __device__ float of_score(std::int64_t e) const {
    if (of_chosen_) return 0.0F;
    float g = 0.0F;
    for (std::int64_t i = 0; i < gate_.top_k; ++i)
      if (chosen(i) == e) g += gate_.scale * (load_one(gp_, token_, i) - along_) / normaliser_;
    return g;
  }
  // Softmax couples all experts through their scores; of sigmoids only the shares are coupled.
  __device__ float coupling() const {
    float sum = 0.0F;
    for (std::int64_t e = lane_of_warp(); e < logits_.columns; e += kWarpThreads) {
      if (gate_.score == Score::kSigmoid)
        sum += share_gradient(e) * score_at(e) / sums_.sum;
      else
        sum += (of_score(e) + share_gradient(e)) * score_at(e);
    }
    return warp_reduce(sum, Sum());
  }

  const Gate& gate_;
  const Operand &gp_, &probabilities_, &logits_;
  const Balance& balance_;
  std::int64_t token_;
  TokenSums sums_;
  bool of_chosen_;
  float largest_, normaliser_, along_;
};

__global__ void gate_grad_kernel(Gate gate, Operand gp, Operand probabilities, Operand logits, Balance balance,
                                 Operand glogits) {
  for (std::int64_t token = first_item(); token < logits.rows; token += items_at_once())
    TokenGradient(gate, gp, probabilities, logits, balance, token).write(glogits);
}

}  // namespace

void choose_experts(Stream stream, const Gate& gate, const Operand& logits, std::int32_t* places,
                    const Operand& probabilities, float* sums) {
  if (places != nullptr)
    launch(choose_forced_kernel, Geometry{1, 1, kWarpThreads}, stream, gate, logits, places, probabilities, sums);
  else
    launch(choose_kernel, warp_per_item(logits.rows), stream, gate, logits, probabilities, sums);
}

void gate_statistics(Stream stream, const Gate& gate, const Operand& logits, const Operand& probabilities,
                     const float* sums, std::int32_t* counts, const Operand& statistics) {
  launch(count_chosen_kernel, over_elements(1, logits.rows * gate.top_k, 1), stream, gate.top_k, probabilities, counts);
  const Geometry geometry{blocks(parts(logits.columns, kWarpThreads), kMostBlocksX), 1, kBlockThreads};
  launch(statistics_kernel, geometry, stream, gate, logits, sums, static_cast<const std::int32_t*>(counts), statistics);
}

void gate_grad(Stream stream, const Gate& gate, const Operand& gp, const Operand& probabilities, const Operand& logits,
               const Balance& balance, const Operand& glogits) {
  launch(gate_grad_kernel, warp_per_item(logits.rows), stream, gate, gp, probabilities, logits, balance, glogits);
}

}  // namespace moesim::gpu
