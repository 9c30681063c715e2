// moesim export

#include <memory>

#include "models/shape/model_source.hpp"
#include "sim/cli/commands/commands.hpp"
#include "sim/cli/plan_place.hpp"
#include "sim/cli/sources.hpp"
#include "sim/plan/export/export.hpp"
#include "sim/plan/plan.hpp"

namespace moesim {
namespace {

struct ExportRequest {
  std::string plan;
  std::string to = "megatron";
  std::string form;
  std::string model;  // empty: the plan's own
};

Result<ExportText> exported(const ExportRequest& request, const PlanFile& file, const ModelShape& model) {
  if (request.to == "deepspeed") {
    if (!request.form.empty()) return usage_error("--form is for --to megatron; DeepSpeed has one form, its JSON");
    return export_deepspeed(file, model);
  }
  MOESIM_ASSIGN(const MegatronForm form, parse_megatron_form(request.form.empty() ? "args" : request.form));
  return export_megatron(file, model, form);
}

RunResult run_export(Session& session, const ExportRequest& request) {
  MOESIM_TRY(check_writable(session.output().file, session.overwrite()));
  MOESIM_ASSIGN(const PlanFile file, read_plan_file(request.plan));
  const std::string source = request.model.empty() ? file.model : request.model;
  if (source.empty()) return fail(ErrorKind::kUsage, "the plan names no model", request.plan, "name it with --model");
  MOESIM_ASSIGN(const LoadedModel model, load_model(source));
  MOESIM_ASSIGN(const ExportText text, in_plan_file(request.plan, exported(request, file, model.shape)));
  MOESIM_TRY(session.emit_text(text.text));
  for (const std::string& note : text.notes) session.say("note: " + note);
  return kExitOk;
}

}  // namespace

void add_export(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("export", "A plan as launch arguments of Megatron-LM or DeepSpeed");
  command->footer(
      "moesim export plan.json --to megatron\n"
      "moesim export plan.json --to megatron --form script -o train.sh\n"
      "moesim export plan.json --to deepspeed -o ds_config.json");
  auto request = std::make_shared<ExportRequest>();
  command->add_option("plan", request->plan, "A plan file (docs/plan.md)")->option_text("PLAN")->required();
  session.add_choice(*command, "--to", request->to, {"megatron", "deepspeed"}, "Whose arguments")
      ->default_str(request->to);
  session.add_choice(*command, "--form", request->form, {"args", "script", "env", "yaml"},
                     "For Megatron: flags, a torchrun script, TP=.. variables, or MODEL_ARGS");
  add_model_source(*command, session, "--model", request->model)
      ->description("Instead of the model that the plan names");
  session.add_file_options(*command, FileOption::kOptional);
  session.run_when_chosen(*command, [&session, request] { return run_export(session, *request); });
}

}  // namespace moesim
