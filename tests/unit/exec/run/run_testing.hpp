// Tiny models trained for a few steps by ranks that are threads, and what came out in whole matrices.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "exec/run/executable.hpp"
#include "exec/run/training.hpp"
#include "sim/lower/lower.hpp"
#include "sim/pipeline/schedules.hpp"
#include "tests/unit/exec/comm/local_ranks.hpp"

namespace moesim {

// Four layers of width 32 with grouped queries; the vocabulary is padded at every TP.
inline ModelShape tiny_dense() {
  ModelShape model;
  model.name = "tiny-dense";
  model.model_type = "llama";
  model.hidden = 32;
  model.vocab = 200;
  LayerShape layer;
  layer.attention = {.heads = 4, .kv_heads = 2, .head_dim = 8, .value_head_dim = 8};
  layer.dense = FfnShape{.width = 48};
  model.kinds = {layer};
  model.layers.assign(4, 0);
  return model;
}

// The first layer dense, the others with 8 experts, top-2, and a shared one.
inline ModelShape tiny_moe() {
  ModelShape model = tiny_dense();
  model.name = "tiny-moe";
  model.model_type = "mixtral";
  LayerShape layer = model.kinds[0];
  layer.dense.reset();
  layer.moe = MoeShape{.experts = 8, .top_k = 2, .expert = {.width = 24}, .shared = {.width = 16}};
  model.kinds.push_back(layer);
  model.layers.assign(4, 1);
  model.layers[0] = 0;
  return model;
}

inline Plan tiny_plan(const ParallelSizes& sizes) {
  Plan plan;
  plan.layout.sizes = sizes;
  plan.seq_length = 16;
  plan.micro_batch = 1;
  plan.global_batch = 8;
  plan.precision = "fp32";
  plan.zero_dense = plan.zero_expert = ZeroStage::kNone;
  plan.grad_bucket_elements = 3000;  // several buckets
  return plan;
}

inline std::string plan_text(const Plan& plan) {
  const ParallelSizes& s = plan.sizes();
  return "tp" + std::to_string(s.tp) + " cp" + std::to_string(s.cp) + " pp" + std::to_string(s.pp) + " vpp" +
         std::to_string(s.vpp) + " dp" + std::to_string(s.dp) + " ep" + std::to_string(s.ep) + " esp" +
         std::to_string(s.esp) + " edp" + std::to_string(s.edp) + " " + plan.pipeline + " " +
         std::string(recompute_name(plan.recompute)) + " zero" + std::to_string(static_cast<int>(plan.zero_dense)) +
         (plan.sequence_parallel ? "" : " no-sp");
}

// The fewest chunks per stage with which a schedule exists for two stages and as many micro-batches.
inline int chunks_of(const PipelineSchedule& schedule, int micro_batches) {
  for (const int vpp : {1, 2, 3, 4}) {
    const int chunks = schedule.chunks_per_stage(vpp);
    if (schedule.check({2, micro_batches, chunks})) return chunks;
  }
  ADD_FAILURE() << "no shape found for " << schedule.name();
  return 1;
}

struct Trained {
  std::vector<double> losses;
  double first_norm = 0;
  WholeMatrices gradients;  // of the first step
  WholeMatrices weights;    // after the last
  Bytes most_moved;         // sent by one rank at changes of slots, all together
};

inline Result<Program> tiny_program(const Plan& plan, const ModelShape& model) {
  MOESIM_TRY(check_plan(plan, model, plan.sizes().world()));
  MOESIM_TRY(check_executable(plan, model));
  MOESIM_ASSIGN(Layout layout, Layout::make(plan.layout, plan.sizes().world()));
  RoutedLoads loads;
  if (const MoeShape* moe = model.first_moe(); moe != nullptr) {
    const std::int64_t tokens = plan.tokens_per_micro_batch() / plan.sizes().tp;
    loads = balanced_routed_loads(model.moe_layer_count(), static_cast<int>(moe->experts), static_cast<int>(moe->top_k),
                                  tokens);
    if (plan.capacity_factor > 0) apply_capacity(loads, plan.capacity_factor, plan.pad_to_capacity);
  }
  return lower(plan, model, std::make_shared<const Layout>(std::move(layout)),
               std::make_shared<const RoutedLoads>(std::move(loads)));
}

// What a rank computes and communicates with; each program of these tests has one kind.
class HardwareUnderTest {
 public:
  HardwareUnderTest() = default;
  HardwareUnderTest(const HardwareUnderTest&) = delete;
  HardwareUnderTest& operator=(const HardwareUnderTest&) = delete;
  virtual ~HardwareUnderTest() = default;
  [[nodiscard]] virtual ComputeBackend& backend() = 0;
  [[nodiscard]] virtual Communicator& comm() = 0;
};
[[nodiscard]] Result<std::unique_ptr<HardwareUnderTest>> hardware_under_test(Communicator& host);

inline constexpr int kAllOnOneNode = 1 << 20;

inline Result<Trained> train_all(const Plan& plan, const ModelShape& model, int steps, const RunSettings& settings = {},
                                 const std::vector<SlotChange>& changes = {}, int ranks_per_node = kAllOnOneNode) {
  MOESIM_ASSIGN(const Program program, tiny_program(plan, model));
  const auto rank_main = [&](Communicator& comm) -> Result<Trained> {
    MOESIM_ASSIGN(const auto hardware, hardware_under_test(comm));
    Trained trained;
    const auto keep = [&](std::int64_t step, const StepResult& result, RankRunner& runner) -> Status {
      trained.losses.push_back(result.loss);
      if (step == 0) {
        trained.first_norm = result.gradient_norm;
        MOESIM_ASSIGN(trained.gradients, runner.matrices(ParameterPart::kGradient));
      }
      if (step + 1 == steps) {
        MOESIM_ASSIGN(trained.weights, runner.matrices(ParameterPart::kValue));
      }
      return {};
    };
    const TrainingJob job{program, settings, synthetic_sequences(model.vocab, 7), steps, {}, {}, changes};
    const auto record = train(job, hardware->backend(), hardware->comm(), real_clock(), keep);
    if (!record) {
      comm.abort_all(record.error().what);
      return tl::unexpected(record.error());
    }
    for (const MoveRecord& move : record->moves) trained.most_moved += move.moves.sent;
    return trained;
  };
  LocalWorld world = local_world(plan.sizes().world(), Seconds(240));
  for (std::size_t rank = 0; rank < world.hosts.size(); ++rank)
    world.hosts[rank] = "node" + std::to_string(static_cast<int>(rank) / ranks_per_node);
  auto ranks = run_local_world<Trained>(world, rank_main);
  Trained all;
  for (auto& rank : ranks) {
    if (!rank) return tl::unexpected(rank.error());
    all.losses = rank->losses;
    all.first_norm = rank->first_norm;
    all.most_moved = std::max(all.most_moved, rank->most_moved);
    all.gradients.add(rank->gradients);
    all.weights.add(rank->weights);
  }
  return all;
}

// The largest difference of an element, relative to the largest number of its matrix; names the matrix.
struct Difference {
  double largest = 0;
  std::string where;
};
inline Difference difference(const WholeMatrices& a, const WholeMatrices& b) {
  Difference found;
  if (a.matrices().size() != b.matrices().size()) return {1e9, "not the same matrices"};
  for (const auto& [id, matrix] : a.matrices()) {
    const auto other = b.matrices().find(id);
    const std::int64_t elements = matrix.rows * matrix.columns;
    if (other == b.matrices().end() || matrix.known != elements || other->second.known != elements ||
        other->second.rows != matrix.rows)
      return {1e9, matrix_text(id) + " is incomplete"};
    double scale = 1e-12;
    double worst = 0;
    for (std::size_t r = 0; r < matrix.values.size(); ++r)
      for (std::size_t c = 0; c < matrix.values[r].size(); ++c) {
        const double value = *matrix.values[r][c];
        scale = std::max(scale, std::abs(value));
        const double apart = std::abs(value - static_cast<double>(*other->second.values[r][c]));
        worst = std::isnan(apart) ? 1e9 : std::max(worst, apart);
      }
    if (worst / scale > found.largest) found = {worst / scale, matrix_text(id)};
  }
  return found;
}

}  // namespace moesim
