// Whole steps of training with the GPU's kernels, streams and copies, on the emulated device: loss, gradients and weights equal
// the CPU's. Work runs late there and device memory cannot be read by the host, so what the runner forgets to wait for, or
// takes for the host's, shows. The full harness (equivalence_test.cpp) runs where there is a GPU.
#include "tests/gpu/emulation/cublas.hpp"
#include "tests/gpu/staged_hardware.hpp"

namespace moesim {
namespace {

class Cpu final : public HardwareUnderTest {
 public:
  explicit Cpu(Communicator& comm) : comm_(comm) {}
  [[nodiscard]] ComputeBackend& backend() override { return *backend_; }
  [[nodiscard]] Communicator& comm() override { return comm_; }

 private:
  std::unique_ptr<ComputeBackend> backend_ = make_cpu_backend();
  Communicator& comm_;
};

bool emulate = true;

const Trained& reference(const ModelShape& model) {
  static std::map<std::string, Trained> known;
  const auto found = known.find(model.name);
  if (found != known.end()) return found->second;
  emulate = false;
  Plan plan = tiny_plan({});
  plan.global_batch = 4;
  Result<Trained> trained = train_all(plan, model, 1);
  emulate = true;
  EXPECT_TRUE(trained.has_value()) << trained.error().what;
  return known[model.name] = trained ? std::move(*trained) : Trained{};
}

void expect_as_on_cpu(const Plan& plan, const ModelShape& model) {
  SCOPED_TRACE(model.name + " " + plan_text(plan));
  const Trained& cpu = reference(model);
  const Result<Trained> gpu = train_all(plan, model, 1);
  ASSERT_TRUE(gpu.has_value()) << gpu.error().what;
  EXPECT_NEAR(gpu->losses[0], cpu.losses[0], 2e-6 * cpu.losses[0]);
  const Difference gradients = difference(gpu->gradients, cpu.gradients);
  EXPECT_LT(gradients.largest, 2e-5) << "gradient of " << gradients.where;
  const Difference weights = difference(gpu->weights, cpu.weights);
  EXPECT_LT(weights.largest, 2e-3) << "weight of " << weights.where;
}

// A dense layer and one with experts: each kernel once.
ModelShape two_layers() {
  ModelShape model = tiny_moe();
  model.name = "two-layers";
  model.layers = {0, 1};
  return model;
}

Plan small_plan(const ParallelSizes& sizes) {
  Plan plan = tiny_plan(sizes);
  plan.global_batch = 4;
  return plan;
}

TEST(EmulatedTraining, OneRank) { expect_as_on_cpu(small_plan({}), two_layers()); }

TEST(EmulatedTraining, TensorAndExpertShards) {
  Plan plan = small_plan({.tp = 2, .ep = 2});
  plan.recompute = Recompute::kSelective;
  expect_as_on_cpu(plan, two_layers());
}

// Over two nodes and in pieces, whose maps are made on the device.
TEST(EmulatedTraining, TokensThatVisit) {
  Plan plan = small_plan({.dp = 4, .ep = 4, .ep_on_node = 2});
  plan.moe_schedule = "deepep";
  plan.moe_degree = 2;
  expect_as_on_cpu(plan, two_layers());
}

// Of the pieces of the forward pass, for several experts of a rank.
TEST(EmulatedTraining, PiecesThatAreCutAgain) {
  Plan plan = small_plan({.dp = 2, .ep = 2});
  plan.moe_schedule = "pipemoe";
  plan.moe_degree = 2;
  plan.moe_backward_degree = 4;
  expect_as_on_cpu(plan, two_layers());
}

// Rows of maps that are dealt out on the device, weights lent and gradients brought home between its buffers.
TEST(EmulatedTraining, GuestsOfExperts) {
  for (const ZeroStage stage : {ZeroStage::kNone, ZeroStage::kGradients}) {
    Plan plan = small_plan({.dp = 4, .ep = 2, .edp = 2});
    plan.zero_expert = stage;
    plan.expert_slots = {{{3, 0, 7, 2, 5, 5, 1, 6, 4, 3}}};
    expect_as_on_cpu(plan, two_layers());
  }
}

TEST(EmulatedTraining, ContextParallelism) { expect_as_on_cpu(small_plan({.cp = 2, .esp = 2}), two_layers()); }

TEST(EmulatedTraining, Pipelines) {
  expect_as_on_cpu(small_plan({.pp = 2}), two_layers());
  Plan plan = small_plan({.pp = 2, .vpp = 2, .dp = 2, .ep = 2});
  plan.pipeline = "zbv";
  expect_as_on_cpu(plan, tiny_moe());
}

TEST(EmulatedTraining, GradientsAreReducedWhileOthersAreAddedTo) {
  for (const ZeroStage zero :
       {ZeroStage::kNone, ZeroStage::kOptimizer, ZeroStage::kGradients, ZeroStage::kParameters}) {
    Plan plan = small_plan({.dp = 2, .edp = 2});
    plan.zero_dense = plan.zero_expert = zero;
    expect_as_on_cpu(plan, two_layers());
  }
}

TEST(EmulatedTraining, Bf16FollowsFp32) {
  Plan plan = small_plan({});
  plan.precision = "bf16";
  const Result<Trained> narrow = train_all(plan, two_layers(), 1);
  ASSERT_TRUE(narrow.has_value()) << narrow.error().what;
  EXPECT_NEAR(narrow->losses[0], reference(two_layers()).losses[0], 0.02 * narrow->losses[0]);
}

// Rows that travel in FP8 and BF16, blocks of columns of a weight: the same numbers are rounded as on the CPU.
TEST(EmulatedTraining, FormatsOnTheWireAndBlocksOfColumns) {
  for (const char* schedule : {"schemoe", "comet"}) {
    Plan plan = small_plan({.dp = 2, .ep = 2});
    plan.moe_schedule = schedule;
    expect_as_on_cpu(plan, two_layers());
    plan.moe_dispatch_format = WireFormat::kFp8;
    plan.moe_combine_format = WireFormat::kBf16;
    emulate = false;
    const Result<Trained> cpu = train_all(plan, two_layers(), 1);
    emulate = true;
    const Result<Trained> gpu = train_all(plan, two_layers(), 1);
    ASSERT_TRUE(cpu.has_value() && gpu.has_value()) << (gpu ? cpu : gpu).error().what;
    const Difference gradients = difference(gpu->gradients, cpu->gradients);
    EXPECT_LT(gradients.largest, 5e-3) << "gradient of " << gradients.where;  // other sides of ties
    EXPECT_GT(difference(gpu->gradients, reference(two_layers()).gradients).largest, 1e-3) << "nothing was rounded";
  }
}

}  // namespace

Result<std::unique_ptr<HardwareUnderTest>> hardware_under_test(Communicator& host) {
  if (!emulate) return std::make_unique<Cpu>(host);
  return StagedHardware::open(emulation::emulated_cublas(), host);
}

}  // namespace moesim
