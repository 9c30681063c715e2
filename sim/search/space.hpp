// Which plans a search looks at: a set of values for every dimension. The product is enumerated whole; what does not
// divide, fit or exist is counted with a reason (search.hpp).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "models/cluster/cluster_view.hpp"
#include "models/shape/model_shape.hpp"
#include "sim/plan/plan.hpp"

namespace moesim {

struct SearchSpace {
  std::vector<int> tp;
  std::vector<int> cp;
  std::vector<int> pp;
  std::vector<int> vpp;  // interleaved only; schedules with a fixed number of chunks use theirs
  std::vector<int> ep;
  std::vector<int> esp;
  std::vector<int> micro_batch;
  std::vector<Recompute> recompute;
  std::vector<ZeroStage> zero_dense;
  std::vector<ZeroStage> zero_expert;
  std::vector<std::string> pipeline;
  std::vector<std::string> moe_schedule;
  std::vector<int> moe_degree;  // pieces that they cut copies into; empty: all that each can (MoeSchedule::degrees)
  std::vector<int> moe_backward_degree;  // the same in backward passes; empty: as many as in the forward pass
  std::vector<int> moe_shadows = {0};  // experts of each MoE layer that they shadow, where they can (possible_shadows)
  std::vector<ExchangeAlgorithm> all_to_all = {ExchangeAlgorithm::kLinear};

  // What is asked for, the same for all plans.
  std::int64_t seq_length = 4096;
  int global_batch = 1;
  std::string precision = "bf16";
  double capacity_factor = 0;
  bool pad_to_capacity = false;
  // They change what is trained, and what a kernel holds is the user's to say: never searched.
  WireFormat moe_dispatch_format = WireFormat::kAsComputed;
  WireFormat moe_combine_format = WireFormat::kAsComputed;
  double comm_sm_share = 0;
};

// The values a user would try: powers of two (and the divisors of the layer count for pp) with
//   tp and esp  inside the scale-up domain, at most 8 and 8
//   cp          while a rank keeps at least 4096 tokens of a sequence
//   ep          up to the experts
//   pp          up to the layers
//   micro_batch 1, 2, 4, 8
//   moe_schedule all up to 128 ranks; above, the plan's default and deepep, for each further one prices the exchanges of every
//                layer anew (CPU time of DeepSeek-V3 on 2048 H800 with a trace: 9 s with one, 12 s with these two, whose step takes
//                18.8 s instead of 21.1 s; 15 s and the same step with parm-s1 for a third)
//   all_to_all   the plan's default: each further one prices the exchanges of every layer anew
// Widen or narrow any of them afterwards; the certificate speaks of the space given.
[[nodiscard]] SearchSpace default_space(const ModelShape& model, const ClusterView& view, std::int64_t seq_length,
                                        int global_batch);

}  // namespace moesim
