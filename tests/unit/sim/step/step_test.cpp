#include "sim/simulate/step.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/text.hpp"
#include "models/cluster/cluster_source.hpp"
#include "models/shape/model_source.hpp"

namespace moesim {
namespace {

TEST(Step, MixtralOn64H100) {
  const auto model = load_model("zoo:mixtral-8x7b");
  ASSERT_TRUE(model.has_value());
  const auto spec = load_cluster("preset:h100", 8);
  ASSERT_TRUE(spec.has_value());
  const auto view = compile(*spec);
  ASSERT_TRUE(view.has_value());
  const CostModel costs(*view);
  Plan plan;
  plan.layout.sizes = {.tp = 2, .cp = 1, .pp = 4, .vpp = 1, .dp = 8, .ep = 8, .esp = 1, .edp = 2};
  plan.global_batch = 256;
  const auto step = simulate_step(plan, model->shape, costs, nullptr, {});
  ASSERT_TRUE(step.has_value()) << step.error().what;
  fmt::print("step {} mfu {:.3f} mem {} events {} bubble {}\n", humanize(step->metrics.step_time), step->metrics.mfu,
             humanize(step->metrics.peak_memory), step->replay.events, step->metrics.bubble_fraction);
  for (int c = 0; c < kCategories; ++c)
    fmt::print("{:20} {:10} {:10}\n", category_name(static_cast<Category>(c)),
               humanize(step->metrics.breakdown.compute[c]), humanize(step->metrics.breakdown.exposed[c]));
  for (const auto& s : step->memory.stages) fmt::print("w {} g {} o {} saved {} working {} peak {}\n", humanize(s.weights), humanize(s.gradients), humanize(s.optimizer), humanize(s.saved_activations), humanize(s.working), humanize(s.peak));
  for (const auto& h : step->memory.stages[0].holders) fmt::print("  {} {}\n", h.name, humanize(h.bytes));
}

}  // namespace
}  // namespace moesim
