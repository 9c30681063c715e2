// That a plan trains what one rank trains: loss, all gradients and the weights after a step.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <string>
#include <utility>

#include "tests/unit/exec/run/run_testing.hpp"

namespace moesim {

// FP32, sums in another order. AdamW divides by the root of the second moment, so that a gradient near zero turns a difference of
// rounding into one of the whole step (rate 1e-3) at its worst.
inline constexpr double kGradientTolerance = 2e-5;
inline constexpr double kWeightTolerance = 2e-3;

inline const Trained& reference(const ModelShape& model) {
  static std::map<std::string, Trained> known;
  const auto found = known.find(model.name);
  if (found != known.end()) return found->second;
  Result<Trained> trained = train_all(tiny_plan({}), model, 1);
  EXPECT_TRUE(trained.has_value()) << trained.error().what;
  return known[model.name] = trained ? std::move(*trained) : Trained{};
}

inline void expect_same_training_as(const Trained& one, const Plan& plan, const ModelShape& model,
                                    int ranks_per_node = kAllOnOneNode) {
  SCOPED_TRACE(model.name + " " + plan_text(plan) + " " + plan.moe_schedule + " in " + std::to_string(plan.moe_degree) +
               " and " + std::to_string(plan.moe_backward_degree) + " pieces");
  const Result<Trained> many = train_all(plan, model, 1, {}, {}, ranks_per_node);
  ASSERT_TRUE(many.has_value()) << many.error().what;
  ASSERT_EQ(many->losses.size(), 1U);
  EXPECT_NEAR(many->losses[0], one.losses[0], 2e-6 * one.losses[0]);
  EXPECT_NEAR(many->first_norm, one.first_norm, 1e-5 * one.first_norm);
  const Difference gradients = difference(one.gradients, many->gradients);
  EXPECT_LT(gradients.largest, kGradientTolerance) << "gradient of " << gradients.where;
  const Difference weights = difference(one.weights, many->weights);
  EXPECT_LT(weights.largest, kWeightTolerance) << weights.where;
  EXPECT_EQ(many->weights.disagreement(), 0) << "replicas have gone apart";
}

inline void expect_same_training(const Plan& plan, const ModelShape& model, int ranks_per_node = kAllOnOneNode) {
  expect_same_training_as(reference(model), plan, model, ranks_per_node);
}

inline constexpr std::array kRecomputes = {Recompute::kNone, Recompute::kSelective, Recompute::kFull};

}  // namespace moesim
