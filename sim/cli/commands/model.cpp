// moesim model show | list

#include <fmt/format.h>

#include <memory>

#include "models/shape/describe.hpp"
#include "models/shape/model_flops.hpp"
#include "models/shape/model_source.hpp"
#include "sim/cli/commands/commands.hpp"
#include "sim/cli/sources.hpp"
#include "sim/report/display_width.hpp"

namespace moesim {
namespace {

constexpr std::int64_t kSequenceShown = 4096;

std::vector<Metric> model_metrics(const ModelShape& shape) {
  const ParameterCounts counts = count_parameters(shape);
  const MoeShape* moe = shape.first_moe();
  const std::int64_t experts = moe == nullptr ? 0 : moe->experts;
  const std::int64_t top_k = moe == nullptr ? 0 : moe->top_k;
  return {
      {{"name", MetricUnit::kNone, "model", "Name in its configuration, or of the file"}, shape.name},
      {{"model_type", MetricUnit::kNone, "type", "Hugging Face's word for the family"}, shape.model_type},
      {{"layers", MetricUnit::kNone, "layers", "Decoder layers"}, std::int64_t{shape.layer_count()}},
      {{"moe_layers", MetricUnit::kNone, "MoE layers", "Layers with routed experts"},
       std::int64_t{shape.moe_layer_count()}},
      {{"hidden", MetricUnit::kNone, "hidden", "Width of the residual stream"}, shape.hidden},
      {{"vocab", MetricUnit::kNone, "vocab", "Rows of the embedding"}, shape.vocab},
      {{"experts", MetricUnit::kNone, "experts", "Routed experts of the first MoE layer"}, experts},
      {{"top_k", MetricUnit::kNone, "top-k", "Experts per token"}, top_k},
      {{"max_positions", MetricUnit::kNone, "positions", "Longest sequence"},
       shape.max_positions > 0 ? MetricValue(shape.max_positions) : MetricValue()},
      {{"parameters", MetricUnit::kNone, "parameters", "Weights, as published figures count them"}, counts.total},
      {{"active_parameters", MetricUnit::kNone, "active", "Used by one token, with the input embedding"},
       counts.active},
      {{"active_parameters_without_input_embedding", MetricUnit::kNone, "active w/o emb.",
        "Used by one token, without it"},
       counts.active_no_input_embedding},
      {{"stored_parameters", MetricUnit::kNone, "stored", "All numbers of a checkpoint"}, counts.stored()},
      {{"flops_per_token_at_4096", MetricUnit::kFlops, "FLOP/token", "Training, forward and backward, at 4096 tokens"},
       model_flops_per_token(shape, kSequenceShown).value()},
  };
}

Drawing description_of(const LoadedModel& model) {
  std::vector<DescriptionRow> rows = describe(model);
  std::erase_if(rows, [](const DescriptionRow& row) { return row.label == "note"; });  // stand below as notes
  std::size_t width = 0;
  for (const DescriptionRow& row : rows) width = std::max(width, display_width(row.label));
  Drawing drawing;
  for (const DescriptionRow& row : rows)
    drawing.lines.push_back(padded(printable(row.label), width, Align::kLeft) + "  " + printable(row.value));
  return drawing;
}

RunResult show_model(Session& session, const std::string& source) {
  MOESIM_TRY(session.check_output());
  MOESIM_ASSIGN(const LoadedModel model, load_model(source));
  Report report = session.new_report();
  report.inputs.push_back(input_record("model", source));
  report.drawing = description_of(model);
  report.add_record("model", "", record_of(model_metrics(model.shape))).shown = SectionShown::kMachinesOnly;
  report.notes = model.notes;
  MOESIM_TRY(session.emit(report));
  return kExitOk;
}

RunResult list_models(Session& session) {
  MOESIM_TRY(session.check_output());
  MetricTable table({{"name", MetricUnit::kNone, "name", "To be used as zoo:NAME"},
                     {"model_type", MetricUnit::kNone, "type", "Hugging Face's word for the family"},
                     {"layers", MetricUnit::kNone, "layers", "Decoder layers"},
                     {"hidden", MetricUnit::kNone, "hidden", "Width of the residual stream"},
                     {"experts", MetricUnit::kNone, "experts", "Routed experts of a MoE layer; 0 for dense models"},
                     {"top_k", MetricUnit::kNone, "top-k", "Experts per token"},
                     {"parameters", MetricUnit::kNone, "parameters", "Weights, as published figures count them"},
                     {"active_parameters", MetricUnit::kNone, "active", "Used by one token"}});
  for (const std::string& name : zoo_names()) {
    MOESIM_ASSIGN(const LoadedModel model, load_model("zoo:" + name));
    const ModelShape& shape = model.shape;
    const ParameterCounts counts = count_parameters(shape);
    const MoeShape* moe = shape.first_moe();
    table.add_row({name, shape.model_type, std::int64_t{shape.layer_count()}, shape.hidden,
                   moe == nullptr ? std::int64_t{0} : moe->experts, moe == nullptr ? std::int64_t{0} : moe->top_k,
                   counts.total, counts.active});
  }
  Report report = session.new_report();
  report.add_rows("models", "", std::move(table));
  MOESIM_TRY(session.emit(report));
  return kExitOk;
}

}  // namespace

void add_model(CLI::App& app, Session& session) {
  CLI::App* model = app.add_subcommand("model", "What a model is made of, and which ones are built in");
  model->require_subcommand(1);

  CLI::App* show = model->add_subcommand("show", "Layers, parameters and FLOPs of a model");
  show->footer("moesim model show zoo:deepseek-v3\nmoesim model show path/to/config.json --json");
  auto source = std::make_shared<std::string>();
  add_model_source(*show, session, "model", *source)->required();
  session.add_output_options(*show);
  session.run_when_chosen(*show, [&session, source] { return show_model(session, *source); });

  CLI::App* list = model->add_subcommand("list", "The models of the zoo");
  list->footer("moesim model list\nmoesim model list --csv");
  session.add_output_options(*list);
  session.run_when_chosen(*list, [&session] { return list_models(session); });
}

}  // namespace moesim
