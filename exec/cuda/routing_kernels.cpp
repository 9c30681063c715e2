// The gate, the routing map, and what moves token copies.
#include <numeric>
#include <vector>

#include "exec/compute/checks.hpp"
#include "exec/compute/kernel_checks.hpp"
#include "exec/cuda/cuda_backend.hpp"
#include "exec/cuda/kernels/gate.hpp"
#include "exec/cuda/kernels/permute.hpp"
#include "exec/cuda/kernels/routing.hpp"
#include "exec/cuda/operands.hpp"
#include "exec/cuda/scratch.hpp"

namespace moesim {
namespace {

gpu::Gate gate_of(const GateSettings& gate) {
  gpu::Score score = gpu::Score::kSoftmax;
  if (gate.score == RouterScore::kSoftmaxOfTopk) score = gpu::Score::kSoftmaxOfTopk;
  if (gate.score == RouterScore::kSigmoid) score = gpu::Score::kSigmoid;
  return {.top_k = gate.top_k, .score = score, .normalise = gate.normalise, .scale = gate.scale};
}

Status check_limits(const MatrixView& logits) {
  if (logits.columns <= gpu::kMostExperts) return {};
  return fail(ErrorKind::kUsage, "the GPU kernels cannot do this: a gate over more than 2048 experts", {},
              "--backend cpu can");
}

gpu::Copies copies_of(const RoutingMap& map) { return {map.tokens, map.top_k, map.row_of_copy, map.copy_of_row}; }

// Rows that the map has, as far as is known without asking the device: copies that a capacity drops, those of experts elsewhere
// and the ways to parts that a token does not visit are not.
std::int64_t rows_of(const RoutingMap& map, const MatrixView& permuted) {
  const bool some_dropped = (map.capacity > 0 && map.padding == CapacityPadding::kNone) ||
                            map.known_experts() > map.experts || map.of_visits();
  return some_dropped && permuted.rows <= map.most_rows() ? permuted.rows : map.most_rows();
}

// The runs of rows that go together, in the order of the sorted side; see SortRowsArgs.
std::vector<gpu::RowRun> runs_of(const SortRowsArgs& args) {
  std::vector<std::int64_t> first(args.counts.size());  // row of each block in the order of sources
  std::exclusive_scan(args.counts.begin(), args.counts.end(), first.begin(), std::int64_t{0});
  const auto experts = static_cast<std::size_t>(args.experts);
  std::vector<gpu::RowRun> runs;
  std::int64_t sorted = 0;  // row in the order of experts
  for (std::size_t e = 0; e < experts; ++e)
    for (std::size_t block = e; block < args.counts.size(); block += experts) {
      const std::int64_t rows = args.counts[block];
      if (rows == 0) continue;
      const bool by_expert = args.to == RowOrder::kByExpert;
      runs.push_back({sorted, by_expert ? first[block] : sorted, by_expert ? sorted : first[block], rows});
      sorted += rows;
    }
  return runs;
}

// Without empty ones.
std::vector<gpu::RowRun> runs_of(std::span<const RowRun> given) {
  std::vector<gpu::RowRun> runs;
  std::int64_t first = 0;
  for (const RowRun& run : given) {
    if (run.rows > 0) runs.push_back({first, run.from, run.to, run.rows});
    first += run.rows;
  }
  return runs;
}

Status move_runs(DeviceStream stream, const std::vector<gpu::RowRun>& runs, const MatrixView& x, const MatrixView& y) {
  if (runs.empty()) return {};
  Scratch scratch(stream.handle);
  const auto count = static_cast<std::int64_t>(runs.size());
  MOESIM_ASSIGN(gpu::RowRun* const on_device, scratch.take_copy(runs.data(), count));
  gpu::move_rows(stream.handle, on_device, count, runs.back().first + runs.back().rows, operand(x), operand(y));
  return {};
}

}  // namespace

Status CudaBackend::top_k(DeviceStream stream, const TopKArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(Checks("top_k")
                 .holds(!args.bias && (args.gate.groups <= 1 || !args.forced_counts.empty()),
                        "groups of experts and biases of the choice are not implemented on a GPU")
                 .status());
  MOESIM_TRY(check_limits(args.logits));
  MOESIM_TRY(select());
  const gpu::Gate gate = gate_of(args.gate);
  const std::int64_t experts = args.logits.columns;
  Scratch scratch(stream.handle);
  std::int32_t* places = nullptr;
  if (!args.forced_counts.empty()) {
    MOESIM_ASSIGN(places, scratch.take_copy(args.forced_counts.data(), experts));
  }
  float* sums = nullptr;
  if (args.statistics) {
    MOESIM_ASSIGN(sums, scratch.take<float>(2 * args.logits.rows));
  }
  gpu::choose_experts(stream.handle, gate, operand(args.logits), places, operand(args.probabilities), sums);
  if (args.statistics) {
    MOESIM_ASSIGN(std::int32_t* const counts, scratch.take<std::int32_t>(experts));
    MOESIM_TRY(fill_zero(stream, counts, storage(experts, DType::kInt32)));
    gpu::gate_statistics(stream.handle, gate, operand(args.logits), operand(args.probabilities), sums, counts,
                         operand(args.statistics));
  }
  return launched("top_k");
}

Status CudaBackend::top_k_grad(DeviceStream stream, const TopKGradArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(check_limits(args.logits));
  MOESIM_TRY(select());
  gpu::Balance balance;
  if (args.balance && args.balance->tokens > 0) {
    const double tokens = static_cast<double>(args.balance->tokens);
    balance.factor = static_cast<double>(args.balance->coefficient) * static_cast<double>(args.logits.columns) /
                     (tokens * static_cast<double>(args.gate.top_k) * tokens);
    balance.statistics = operand(args.balance->statistics);
  }
  gpu::gate_grad(stream.handle, gate_of(args.gate), operand(args.gp), operand(args.probabilities), operand(args.logits),
                 balance, operand(args.glogits));
  return launched("top_k_grad");
}

Status CudaBackend::build_routing(DeviceStream stream, const BuildRoutingArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  const RoutingMap& map = args.map;
  Scratch scratch(stream.handle);
  MOESIM_ASSIGN(std::int32_t* const work,
                scratch.take<std::int32_t>(gpu::routing_scratch(map.tokens * map.top_k, map.experts)));
  gpu::build_routing(stream.handle,
                     {.probabilities = operand(args.probabilities),
                      .tokens = map.tokens,
                      .top_k = map.top_k,
                      .experts = map.experts,
                      .first_expert = map.first_expert,
                      .all_experts = map.known_experts(),
                      .slots = map.slots,
                      .capacity = map.capacity,
                      .padded = map.padding == CapacityPadding::kFull,
                      .rows = map.most_rows(),
                      .chosen = map.chosen,
                      .part_slots = map.part_slots,
                      .expert_rows = map.expert_rows,
                      .row_of_copy = map.row_of_copy,
                      .copy_of_row = map.copy_of_row},
                     work);
  MOESIM_TRY(launched("build_routing"));
  std::int32_t wrong = 0;
  MOESIM_TRY(copy_out(stream, &wrong, work, Bytes(sizeof wrong)));
  MOESIM_TRY(synchronize(stream));
  return Checks("build_routing").holds(wrong == 0, "probabilities name an expert that there is not").status();
}

Status CudaBackend::deal_rows(DeviceStream stream, const DealRowsArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  const std::vector<gpu::RowRun> runs = runs_of(args.runs);
  if (runs.empty()) return {};
  const std::int64_t rows = runs.back().first + runs.back().rows;
  Scratch scratch(stream.handle);
  const auto count = static_cast<std::int64_t>(runs.size());
  MOESIM_ASSIGN(gpu::RowRun* const on_device, scratch.take_copy(runs.data(), count));
  MOESIM_ASSIGN(std::int32_t* const before, scratch.take<std::int32_t>(rows));
  MOESIM_TRY(copy(stream, before, args.map.copy_of_row, storage(rows, DType::kInt32)));
  gpu::deal_rows(stream.handle, on_device, count, rows, before, args.map.copy_of_row, args.map.row_of_copy);
  return launched("deal_rows");
}

Status CudaBackend::permute(DeviceStream stream, const PermuteArgs& args) {
  MOESIM_TRY(check_operands(args, rows_of(args.map, args.y)));
  MOESIM_TRY(select());
  gpu::permute(stream.handle, copies_of(args.map), operand(args.x), operand(args.probabilities), operand(args.y),
               operand(args.weights));
  return launched("permute");
}

Status CudaBackend::permute_grad(DeviceStream stream, const PermuteGradArgs& args) {
  MOESIM_TRY(check_operands(args, rows_of(args.map, args.gy)));
  MOESIM_TRY(select());
  gpu::permute_grad(stream.handle, copies_of(args.map), operand(args.gy), operand(args.gweights), operand(args.gx),
                    operand(args.gp));
  return launched("permute_grad");
}

Status CudaBackend::unpermute(DeviceStream stream, const UnpermuteArgs& args) {
  MOESIM_TRY(check_operands(args, rows_of(args.map, args.y)));
  MOESIM_TRY(select());
  gpu::unpermute(stream.handle, copies_of(args.map), operand(args.y), operand(args.probabilities), operand(args.x));
  return launched("unpermute");
}

Status CudaBackend::unpermute_grad(DeviceStream stream, const UnpermuteGradArgs& args) {
  MOESIM_TRY(check_operands(args, rows_of(args.map, args.gy)));
  MOESIM_TRY(select());
  gpu::unpermute_grad(stream.handle, copies_of(args.map), operand(args.gx), operand(args.probabilities),
                      operand(args.y), operand(args.gy), operand(args.gp));
  return launched("unpermute_grad");
}

Status CudaBackend::sort_rows(DeviceStream stream, const SortRowsArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  MOESIM_TRY(move_runs(stream, runs_of(args), args.x, args.y));
  return launched("sort_rows");
}

Status CudaBackend::move_rows(DeviceStream stream, const MoveRowsArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  MOESIM_TRY(move_runs(stream, runs_of(args.runs), args.x, args.y));
  return launched("move_rows");
}

}  // namespace moesim
