#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.hpp"
#include "sim/plan/export/export.hpp"
#include "sim/plan/export/megatron_flags.hpp"

namespace moesim {
namespace {

std::string head(const PlanFile& file, const std::vector<std::string>& notes) {
  std::string text = fmt::format("# {}: {} on {}\n", run_name(file.plan), one_line(file.model), one_line(file.cluster));
  for (const std::string& note : notes) text += fmt::format("# note: {}\n", one_line(note));
  return text;
}

std::string script(const PlanFile& file, const FlagList& flags) {
  const int world = file.plan.sizes().world();
  const bool known = file.nodes > 0 && world % file.nodes == 0;
  const std::string nodes = known ? fmt::format("{}", file.nodes) : "\"${NNODES:?}\"";
  const std::string devices = known ? fmt::format("{}", world / file.nodes) : "\"${GPUS_PER_NODE:?}\"";
  return fmt::format(
      "set -euo pipefail\n"
      "export CUDA_DEVICE_MAX_CONNECTIONS=1\n"
      "torchrun --nnodes {} --nproc-per-node {} --node-rank \"${{NODE_RANK:-0}}\" \\\n"
      "  --master-addr \"${{MASTER_ADDR:-localhost}}\" --master-port \"${{MASTER_PORT:-29500}}\" \\\n"
      "  pretrain_gpt.py \\\n{}",
      nodes, devices, flags.lines("  ", " \\"));
}

std::string environment(const Plan& plan) {
  const ParallelSizes& s = plan.sizes();
  return fmt::format("TP={}\nPP={}\nVPP={}\nCP={}\nEP={}\nETP={}\nDP={}\nMBS={}\nGBS={}\nSEQ_LEN={}\nPRECISION={}\n",
                     s.tp, s.pp, s.vpp, s.cp, s.ep, s.esp, s.dp, plan.micro_batch, plan.global_batch, plan.seq_length,
                     plan.precision);
}

}  // namespace

Result<MegatronForm> parse_megatron_form(std::string_view name) {
  const std::array<std::string, 4> names = {"args", "script", "env", "yaml"};
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return static_cast<MegatronForm>(i);
  return usage_error(fmt::format("unknown form '{}'{}", name, did_you_mean(name, names)),
                     fmt::format("one of {}", fmt::join(names, ", ")));
}

Result<ExportText> export_megatron(const PlanFile& file, const ModelShape& model, MegatronForm form) {
  MOESIM_TRY(check_plan(file.plan, model, file.plan.sizes().world()));
  MegatronFlags megatron;
  add_model_flags(megatron, model, file.plan);
  add_plan_flags(megatron, model, file.plan);
  const bool moe =
      std::any_of(model.kinds.begin(), model.kinds.end(), [](const LayerShape& kind) { return kind.moe.has_value(); });
  if (moe && file.trace.empty())
    megatron.notes.emplace_back(
        "the prediction assumes balanced routing; to measure that, add --moe-router-force-load-balancing");
  if (form == MegatronForm::kEnv)
    megatron.notes.emplace_back("these variables name the layout only; see the other forms for all flags");
  for (std::string& note : plan_notes(file.plan, model)) megatron.notes.push_back(std::move(note));
  const std::string comment = head(file, megatron.notes);
  ExportText out{{}, std::move(megatron.notes)};
  switch (form) {
    case MegatronForm::kArgs: out.text = comment + megatron.flags.lines("", ""); break;
    case MegatronForm::kScript: out.text = "#!/usr/bin/env bash\n" + comment + script(file, megatron.flags); break;
    case MegatronForm::kEnv: out.text = comment + environment(file.plan); break;
    case MegatronForm::kYaml:
      out.text = comment + "ENV_VARS:\n  CUDA_DEVICE_MAX_CONNECTIONS: 1\nMODEL_ARGS:\n" + megatron.flags.yaml();
      break;
  }
  return out;
}

}  // namespace moesim
