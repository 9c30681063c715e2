// The gradients of one rank against differences of its loss.
#include "tests/unit/exec/run/run_testing.hpp"

namespace moesim {
namespace {

// The same sequences in every step, so that the loss depends on the weights alone.
SequenceSource same_every_step(std::int64_t vocab, int global_batch) {
  return [source = synthetic_sequences(vocab, 3), global_batch](std::int64_t sequence, std::int64_t length) {
    return source(sequence % global_batch, length);
  };
}

double loss_of(RankRunner& runner) {
  const Result<StepResult> result = runner.step();
  EXPECT_TRUE(result.has_value()) << result.error().what;
  return result ? result->loss : 0;
}

// In every weight the element with the largest gradient: d loss = (L(w + h) - L(w - h)) / 2h. The loss is near 5 and known to 3e-7,
// so the difference is good to some 1e-4 with h = 0.01.
void expect_gradients_of_the_loss(const ModelShape& model) {
  Plan plan = tiny_plan({});
  plan.global_batch = 2;
  const Result<Program> program = tiny_program(plan, model);
  ASSERT_TRUE(program.has_value()) << program.error().what;
  RunSettings settings;
  settings.optimizer.rate = 0;
  const auto rank_main = [&](Communicator& comm) -> Result<int> {
    const auto backend = make_cpu_backend();
    MOESIM_ASSIGN(const auto runner,
                  RankRunner::make(*program, settings, same_every_step(model.vocab, 2), *backend, comm, real_clock()));
    EXPECT_GT(loss_of(*runner), 4.0);  // log 200 = 5.3
    struct Probe {
      float* weight;
      float gradient;
      std::string name;
    };
    std::vector<Probe> probes;
    for (const Parameter& parameter : runner->context().parameters.all()) {
      const float* gradient = parameter.gradient->as<float>();
      std::int64_t largest = 0;
      for (std::int64_t i = 0; i < parameter.elements(); ++i)
        if (std::abs(gradient[i]) > std::abs(gradient[largest])) largest = i;
      probes.push_back(
          {parameter.value->as<float>() + largest, gradient[largest],
           std::string(parameter.tensor().name) + " of layer " + std::to_string(parameter.tensor().layer.value())});
    }
    for (const Probe& probe : probes) {
      const float before = *probe.weight;
      const float h = 0.01F;
      *probe.weight = before + h;
      const double above = loss_of(*runner);
      *probe.weight = before - h;
      const double below = loss_of(*runner);
      *probe.weight = before;
      const double slope = (above - below) / (2 * static_cast<double>(h));
      EXPECT_NEAR(slope, static_cast<double>(probe.gradient), 0.03 * std::abs(slope) + 3e-4) << probe.name;
    }
    return 0;
  };
  const auto results = run_local_world<int>(local_world(1), rank_main);
  ASSERT_TRUE(results[0].has_value()) << results[0].error().what;
}

TEST(Gradients, AreSlopesOfTheLossOfADenseModel) { expect_gradients_of_the_loss(tiny_dense()); }

// Every token goes to all experts: with fewer, a gate that changes its mind makes the loss jump.
ModelShape moe_without_choice() {
  ModelShape model = tiny_moe();
  model.kinds[1].moe->experts = model.kinds[1].moe->top_k = 4;
  return model;
}

TEST(Gradients, AreSlopesOfTheLossOfAMoeModel) { expect_gradients_of_the_loss(moe_without_choice()); }

TEST(Gradients, AreSlopesOfTheLossWithNormsOfHeadsAndAllLayerNorms) {
  ModelShape model = moe_without_choice();
  for (LayerShape& kind : model.kinds) {
    kind.attention.qk_norm = true;
    kind.norms = 4;
  }
  model.kinds[1].moe->score = RouterScore::kSigmoid;
  model.kinds[0].dense->gated = false;
  expect_gradients_of_the_loss(model);
}

}  // namespace
}  // namespace moesim
