// What the executor does for one operation of a step beside its kernel: a step of a small model on one rank, with kernels that do
// nothing.
#include <memory>
#include <utility>

#include "exec/bench/cases.hpp"
#include "exec/comm/host_communicator.hpp"
#include "exec/comm/local_transport.hpp"
#include "exec/run/compute_wait.hpp"
#include "exec/run/train_step.hpp"
#include "sim/lower/lower.hpp"

namespace moesim {
namespace {

ModelShape small_model() {
  ModelShape model;
  model.name = "small";
  model.model_type = "mixtral";
  model.hidden = 32;
  model.vocab = 256;
  LayerShape layer;
  layer.attention = {.heads = 4, .kv_heads = 2, .head_dim = 8, .value_head_dim = 8};
  layer.moe = MoeShape{.experts = 8, .top_k = 2, .expert = {.width = 32}, .shared = {}};
  model.kinds = {layer};
  model.layers.assign(4, 0);
  return model;
}

Result<Program> small_program() {
  Plan plan;
  plan.seq_length = 16;
  plan.global_batch = 4;
  plan.precision = "fp32";
  const ModelShape model = small_model();
  MOESIM_TRY(check_plan(plan, model, 1));
  MOESIM_ASSIGN(Layout layout, Layout::make(plan.layout, 1));
  const auto loads = std::make_shared<const RoutedLoads>(
      balanced_routed_loads(model.moe_layer_count(), 8, 2, plan.tokens_per_micro_batch()));
  return lower(plan, model, std::make_shared<const Layout>(std::move(layout)), loads);
}

// A rank of its own, whatever the number of ranks that measure.
struct Executor {
  Program program;
  std::unique_ptr<ComputeBackend> backend = without_kernels(make_cpu_backend());
  LocalHub hub{{"here"}};
  std::unique_ptr<HostCommunicator> comm;
  std::unique_ptr<RankRunner> runner;
};

Result<PreparedCase> prepare(BenchContext& context) {
  const auto executor = std::make_shared<Executor>();
  MOESIM_ASSIGN(executor->program, small_program());
  MOESIM_ASSIGN(executor->comm, HostCommunicator::make(std::make_unique<LocalTransport>(executor->hub, RankId(0)),
                                                       {.clock = context.clock}));
  RunSettings settings;
  settings.gating = Gating::kReplay;
  MOESIM_ASSIGN(executor->runner,
                RankRunner::make(executor->program, settings, synthetic_sequences(executor->program.model.vocab, 1),
                                 *executor->backend, *executor->comm, context.clock));
  MOESIM_ASSIGN(const StepResult step, executor->runner->step());
  return PreparedCase{.run = [executor]() -> Status {
                        MOESIM_TRY(executor->runner->step());
                        return {};
                      },
                      .finish = {},
                      .operations = static_cast<double>(step.ops.size())};
}

}  // namespace

std::vector<PlannedCase> operation_cases(BenchScale, const std::vector<std::string>&) {
  return {{.name = "operation", .work = OperationWork{}, .prepare = prepare}};
}

}  // namespace moesim
