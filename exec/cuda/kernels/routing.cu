#include "exec/cuda/kernels/routing.hpp"

#include "exec/cuda/kernels/device.cuh"

namespace moesim::gpu {
namespace {

constexpr std::int64_t kSlab = kBlockThreads;

// The parts of the scratch.
struct Work {
  std::int32_t* wrong;      // [1]
  std::int32_t* end;        // [experts]: where an expert's rows for copies end
  std::int32_t* histogram;  // [slabs][experts]: copies; then the row of the first copy of the slab
};

constexpr std::int32_t kNone = -1;       // the number is no expert
constexpr std::int32_t kElsewhere = -2;  // of another rank

// Of a token's choice, counted from the first slot that has rows; `choices` of a token.
__device__ std::int64_t slot_of(const RoutingPlan& plan, std::int64_t token, std::int64_t choices,
                                std::int64_t choice) {
  const float id = fp32_at(plan.probabilities, token, choices + choice);
  if (!(id >= 0.0F && id < static_cast<float>(plan.all_experts))) return kNone;
  const auto chosen = static_cast<std::int64_t>(id);
  const std::int64_t slot = (plan.slots != nullptr ? plan.slots[chosen] : chosen) - plan.first_expert;
  return slot >= 0 ? slot : kElsewhere;
}

// The part of a copy, where its token chose one of the part's slots.
__device__ std::int32_t part_of(const RoutingPlan& plan, std::int64_t token, std::int64_t part) {
  std::int32_t found = kElsewhere;
  for (std::int64_t choice = 0; choice < plan.chosen; ++choice) {
    const std::int64_t slot = slot_of(plan, token, plan.chosen, choice);
    if (slot == kNone) return kNone;
    if (slot >= 0 && slot / plan.part_slots == part) found = static_cast<std::int32_t>(part);
  }
  return found;
}

// Of a copy: its expert among those that have rows, or its part.
__device__ std::int32_t expert_of(const RoutingPlan& plan, std::int64_t copy) {
  if (plan.chosen > 0) return part_of(plan, copy / plan.top_k, copy % plan.top_k);
  const std::int64_t slot = slot_of(plan, copy / plan.top_k, plan.top_k, copy % plan.top_k);
  return slot < plan.experts ? static_cast<std::int32_t>(slot) : kElsewhere;
}

__global__ void clear_kernel(std::int32_t* numbers, std::int64_t count, std::int32_t value) {
  for (std::int64_t i = thread_of_row(); i < count; i += threads_of_row()) numbers[i] = value;
}

__global__ void count_kernel(RoutingPlan plan, Work work) {
  const std::int64_t copies = plan.tokens * plan.top_k;
  for (std::int64_t copy = thread_of_row(); copy < copies; copy += threads_of_row()) {
    const std::int32_t expert = expert_of(plan, copy);
    if (expert == kNone)
      atomicAdd(work.wrong, 1);
    else if (expert != kElsewhere)
      atomicAdd(&work.histogram[copy / kSlab * plan.experts + expert], 1);
  }
}

// The sum of the numbers of the threads before this one, and of all of them; a block of kBlockThreads.
struct Scanned {
  std::int32_t before, all;
};
__device__ Scanned scan_block(std::int32_t own) {
  __shared__ std::int32_t sums[kBlockThreads];
  const int thread = static_cast<int>(threadIdx.x);
  __syncthreads();  // an earlier scan has been read
  sums[thread] = own;
  __syncthreads();
  for (int apart = 1; apart < kBlockThreads; apart *= 2) {
    const std::int32_t other = thread >= apart ? sums[thread - apart] : 0;
    __syncthreads();
    sums[thread] += other;
    __syncthreads();
  }
  return {sums[thread] - own, sums[kBlockThreads - 1]};
}

// One block: a thread to an expert, 256 at a time. Every expert's rows follow those of the experts before it, and in them the
// copies of each slab those of the slabs before it.
__global__ void place_kernel(RoutingPlan plan, Work work) {
  if (*work.wrong != 0) return;  // the same for all threads
  const std::int64_t slabs = parts(plan.tokens * plan.top_k, kSlab);
  std::int32_t rows_before = 0;  // of experts of earlier rounds
  for (std::int64_t first = 0; first < plan.experts; first += kBlockThreads) {
    const std::int64_t e = first + threadIdx.x;
    const bool here = e < plan.experts;
    std::int32_t kept = 0;
    for (std::int64_t s = 0; here && s < slabs; ++s) kept += work.histogram[s * plan.experts + e];
    if (plan.capacity > 0 && kept > plan.capacity) kept = static_cast<std::int32_t>(plan.capacity);
    const std::int32_t rows = here && plan.padded ? static_cast<std::int32_t>(plan.capacity) : kept;
    const Scanned scanned = scan_block(rows);
    if (here) {
      std::int32_t next = rows_before + scanned.before;
      plan.expert_rows[e] = rows;
      work.end[e] = next + kept;
      for (std::int64_t s = 0; s < slabs; ++s) {
        std::int32_t& of_slab = work.histogram[s * plan.experts + e];
        const std::int32_t copies = of_slab;
        of_slab = next;
        next += copies;
      }
    }
    rows_before += scanned.all;
  }
}

// A block to a slab. A copy's row: where its slab begins for its expert, and how many copies of the slab before it have the
// same expert.
__global__ void assign_kernel(RoutingPlan plan, Work work) {
  if (*work.wrong != 0) return;
  __shared__ std::int32_t experts[kSlab];
  const std::int64_t copies = plan.tokens * plan.top_k;
  for (std::int64_t slab = blockIdx.x; slab * kSlab < copies; slab += gridDim.x) {
    const std::int64_t copy = slab * kSlab + threadIdx.x;
    const std::int32_t expert = copy < copies ? expert_of(plan, copy) : kNone;
    experts[threadIdx.x] = expert;
    __syncthreads();
    if (expert >= 0) {
      std::int32_t row = work.histogram[slab * plan.experts + expert];
      for (int before = 0; before < static_cast<int>(threadIdx.x); ++before) row += experts[before] == expert ? 1 : 0;
      const bool kept = row < work.end[expert];
      plan.row_of_copy[copy] = kept ? row : -1;
      if (kept) plan.copy_of_row[row] = static_cast<std::int32_t>(copy);
    } else if (expert == kElsewhere) {
      plan.row_of_copy[copy] = -1;
    }
    __syncthreads();  // the experts have been read
  }
}

__global__ void clear_rows_kernel(RoutingPlan plan, const std::int32_t* wrong) {
  if (*wrong != 0) return;
  for (std::int64_t i = thread_of_row(); i < plan.rows; i += threads_of_row()) plan.copy_of_row[i] = -1;
}

}  // namespace

std::int64_t routing_scratch(std::int64_t copies, std::int64_t experts) {
  return 1 + experts + parts(copies, kSlab) * experts;
}

void build_routing(Stream stream, const RoutingPlan& plan, std::int32_t* scratch) {
  const std::int64_t copies = plan.tokens * plan.top_k;
  const std::int64_t numbers = routing_scratch(copies, plan.experts);
  const Work work{scratch, scratch + 1, scratch + 1 + plan.experts};
  launch(clear_kernel, over_elements(1, numbers, 1), stream, scratch, numbers, 0);
  launch(count_kernel, over_elements(1, copies, 1), stream, plan, work);
  launch(clear_rows_kernel, over_elements(1, plan.rows, 1), stream, plan, static_cast<const std::int32_t*>(work.wrong));
  launch(place_kernel, Geometry{1, 1, kBlockThreads}, stream, plan, work);
  launch(assign_kernel, Geometry{blocks(parts(copies, kSlab), kMostBlocksX), 1, static_cast<unsigned>(kSlab)}, stream,
         plan, work);
}

}  // namespace moesim::gpu
