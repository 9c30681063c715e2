// A plan: everything that search varies and that a training job needs to be told. What `rank` prints, `simulate` plays,
// `export` turns into launch commands and the executor runs.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "models/cost/collective.hpp"
#include "models/cost/exchange/algorithm.hpp"
#include "models/precision.hpp"
#include "models/shape/model_shape.hpp"
#include "sim/plan/expert_slots.hpp"
#include "sim/plan/layout.hpp"

namespace moesim {

class JsonReader;

enum class Recompute : std::uint8_t {
  kNone,
  kSelective,  // norms, activations, permutation and the attention core are run again in the backward pass
  kFull,       // only the input of each layer is kept
};
[[nodiscard]] std::string_view recompute_name(Recompute recompute);

// What data-parallel ranks keep only a shard of (ZeRO, arXiv 1910.02054): 0 nothing, 1 optimizer states,
// 2 gradients as well, 3 parameters as well.
enum class ZeroStage : std::uint8_t { kNone = 0, kOptimizer = 1, kGradients = 2, kParameters = 3 };

// Where the last backward passes reduce gradients (sim/lower/grad_placement.hpp).
enum class GradPlacement : std::uint8_t {
  kAsReady,           // on a stream of their own
  kBetweenExchanges,  // between the exchanges of the MoE layers that follow
};
[[nodiscard]] std::string_view grad_placement_name(GradPlacement placement);

// In which number format token rows travel to and from the experts (sim/program/wire_format.hpp). Other than kAsComputed it changes
// the numbers that are trained.
enum class WireFormat : std::uint8_t {
  kAsComputed,
  kBf16,
  kFp8,  // E4M3 with an FP32 scale for each row and 128 columns
};
[[nodiscard]] std::string_view wire_format_name(WireFormat format);        // "", "bf16", "fp8"
[[nodiscard]] Result<WireFormat> find_wire_format(std::string_view name);  // "none" as well: kAsComputed

constexpr double kMostCommSmShare = 0.9;
constexpr int kMostMoePieces = 8;   // that a MoE schedule cuts token copies into
constexpr int kMostShadows = 4096;  // experts of a layer that a plan may have shadowed
// Those that a plan may name for its all-reduces, the default first.
[[nodiscard]] std::span<const CollectiveAlgorithm> all_reduce_algorithms();

struct Plan {
  LayoutSpec layout;
  bool sequence_parallel = true;  // along TP; without effect when tp == 1

  std::int64_t seq_length = 4096;
  int micro_batch = 1;   // sequences
  int global_batch = 1;  // sequences per step
  std::string precision = "bf16";

  std::string pipeline = "1f1b";  // a name of sim/pipeline/schedules.hpp
  // Layers of each virtual stage of one model copy, in model order (see virtual_stages); empty: as even as the embedding
  // and the head allow.
  std::vector<int> stage_layers;

  std::string moe_schedule = "megatron-a2a";  // a name of sim/lower/moe_schedules.hpp
  int moe_degree = 0;                         // pieces that it cuts copies into; 0: what MoeSchedule::degrees has first
  int moe_backward_degree = 0;                // the same in the backward pass; 0: as many as in the forward pass
  int moe_shadows = 0;                        // shadowed experts of each MoE layer: those with the most copies
  // Of dispatches and of combines, in the forward and in the backward pass: the gradients of combined rows are dispatched.
  WireFormat moe_dispatch_format = WireFormat::kAsComputed;
  WireFormat moe_combine_format = WireFormat::kAsComputed;
  // Part of the compute units that an exchange of token copies holds while it is under way, as of a kernel whose thread blocks are
  // divided: DeepEP's 20 of 132 are 0.1515. 0: as the law of overlap says of any communication.
  double comm_sm_share = 0;
  ExpertSlots expert_slots;    // which expert stands where
  double capacity_factor = 0;  // 0: dropless
  bool pad_to_capacity = false;

  // By which algorithms token copies are exchanged (dispatch and combine) and all-reduces run. kAuto: as the library of
  // collectives would choose.
  ExchangeAlgorithm all_to_all = ExchangeAlgorithm::kLinear;
  CollectiveAlgorithm all_reduce = CollectiveAlgorithm::kAuto;

  Recompute recompute = Recompute::kNone;
  ZeroStage zero_dense = ZeroStage::kOptimizer;
  ZeroStage zero_expert = ZeroStage::kOptimizer;
  std::int64_t grad_bucket_elements = 40'000'000;  // a reduction starts when this many gradients are ready
  bool overlap_grad_reduce = true;                 // during the last backward passes; otherwise after them
  GradPlacement grad_placement = GradPlacement::kAsReady;
  bool overlap_param_gather = true;  // ZeRO 1/2: during the first forward passes; otherwise before them

  [[nodiscard]] const ParallelSizes& sizes() const { return layout.sizes; }
  [[nodiscard]] int micro_batches() const {  // per data-parallel rank and step
    return global_batch / (micro_batch * layout.sizes.dp);
  }
  // Of the parameters that this group replicates.
  [[nodiscard]] ZeroStage zero_of(GroupKind replicas) const {
    return replicas == GroupKind::kEdp ? zero_expert : zero_dense;
  }
  // Tokens of one micro-batch on one rank of the CP group, before TP or sequence parallelism.
  [[nodiscard]] std::int64_t tokens_per_micro_batch() const { return micro_batch * seq_length / layout.sizes.cp; }
  bool operator==(const Plan&) const = default;
};

// Whether token rows travel in another format than they are computed in.
[[nodiscard]] inline bool compresses_rows(const Plan& plan) {
  return plan.moe_dispatch_format != WireFormat::kAsComputed || plan.moe_combine_format != WireFormat::kAsComputed;
}

// What results say where they do: that the numbers change.
[[nodiscard]] std::string wire_note(const Plan& plan);

// Every rule that does not need the cluster: divisibility, heads by TP, experts by EP, layers conserved, batch sizes,
// and what the pipeline schedule demands. The error is worded as the user's launcher would word it.
[[nodiscard]] Status check_plan(const Plan& plan, const ModelShape& model, int world);

// What is allowed but worth telling: replicated key/value heads, a padded vocabulary, what the MoE schedule says of itself
// (MoeSchedule::notes), uneven layers, ...
[[nodiscard]] std::vector<std::string> plan_notes(const Plan& plan, const ModelShape& model);

// Rows of the embedding in training: a multiple of 128 * TP, Megatron's habit. 32000 rows at TP 8 become 32768.
[[nodiscard]] std::int64_t padded_vocab(std::int64_t vocab, int tp);

// Virtual stages of one model copy: pp * vpp for 1F1B and interleaved, 2 pp for ZBV, pp for DualPipe.
[[nodiscard]] Result<int> virtual_stages(const Plan& plan);

// Layers per virtual stage: the plan's own list, or as even as possible with one layer less where the embedding or the
// head stands when that divides better: 30 layers on 4 stages are 7 8 8 7. The sum always equals the model's layers.
[[nodiscard]] Result<std::vector<int>> split_layers(const Plan& plan, const ModelShape& model);

// "TP2PP8EP64CP1VPP4-MBS1GBS8192": the habit of the field for run names; ETP follows VPP where experts are cut.
[[nodiscard]] std::string run_name(const Plan& plan);

// A plan together with what it was made for: the file that `moesim simulate` reads.
struct PlanFile {
  Plan plan;
  std::string model;    // source, as on the command line
  std::string cluster;  // source
  int nodes = 0;
  std::string trace;  // source; empty: balanced routing
  bool operator==(const PlanFile&) const = default;
};
// Strict about keys and ranges (docs/plan.md); a layout that parses is consistent in itself. What depends on the model
// or the cluster is left to check_plan.
[[nodiscard]] Result<PlanFile> read_plan_file(const std::string& path);
[[nodiscard]] Result<PlanFile> parse_plan(std::string_view text, const std::string& name);
[[nodiscard]] Result<PlanFile> read_plan(JsonReader root);                 // a plan inside another file
[[nodiscard]] std::string plan_to_json(const PlanFile& file, int indent);  // snake_case, stable order, schema_version 1

}  // namespace moesim
