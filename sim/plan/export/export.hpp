// A plan as the launch input of other systems: what `moesim export` prints.
//
// The text is ready to use. What the other system cannot do, or what the plan does not know, is never left out in
// silence: it becomes a note, which the forms with comments carry at their head as well.
// Sources: Megatron-LM arguments.py / argument_utils.py, Megatron-Core transformer_config.py; DeepSpeed's config JSON and
// deepspeed/moe/layer.py. Errors: a plan that check_plan refuses.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "sim/plan/plan.hpp"

namespace moesim {

struct ExportText {
  std::string text;
  std::vector<std::string> notes;  // one line each
};

enum class MegatronForm : std::uint8_t {
  kArgs,    // the flags, one per line
  kScript,  // a shell script that calls torchrun
  kEnv,     // TP=2 PP=8 ...: the variables of the usual launch scripts
  kYaml,    // MODEL_ARGS, as in the model zoo of Megatron
};
[[nodiscard]] Result<MegatronForm> parse_megatron_form(std::string_view name);

[[nodiscard]] Result<ExportText> export_megatron(const PlanFile& file, const ModelShape& model, MegatronForm form);

// The configuration JSON. The arguments of the MoE layer, which DeepSpeed takes in code, are the first note.
[[nodiscard]] Result<ExportText> export_deepspeed(const PlanFile& file, const ModelShape& model);

// --pipeline-model-parallel-layout: E embedding, t decoder layer, L loss, | between virtual stages in model order.
// {1, 2, 2, 0} gives "Et|(tt|)*2L".
[[nodiscard]] std::string pipeline_layout_text(const std::vector<int>& stage_layers);

// --moe-layer-freq: one 0 (dense) or 1 (MoE) per layer, "([0]*3+[1]*58)"; "1" where every layer is MoE.
[[nodiscard]] std::string moe_layer_pattern(const ModelShape& model);

}  // namespace moesim
