// The flags of Megatron-LM for a plan and a model, and notes on what they do not say.
#pragma once

#include <string>
#include <vector>

#include "sim/plan/export/flag_list.hpp"
#include "sim/plan/plan.hpp"

namespace moesim {

struct MegatronFlags {
  FlagList flags;
  std::vector<std::string> notes;
};

void add_model_flags(MegatronFlags& out, const ModelShape& model, const Plan& plan);  // megatron_model.cpp
void add_plan_flags(MegatronFlags& out, const ModelShape& model, const Plan& plan);   // megatron_plan.cpp

}  // namespace moesim
