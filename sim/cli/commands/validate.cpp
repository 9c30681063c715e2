// moesim validate

#include <fmt/format.h>

#include <iterator>
#include <memory>
#include <optional>
#include <set>

#include "models/cluster/device.hpp"
#include "sim/cli/commands/commands.hpp"
#include "sim/cli/number_range.hpp"
#include "sim/cli/sources.hpp"
#include "sim/cli/validation_files.hpp"
#include "sim/report/validation_summary.hpp"

namespace moesim {
namespace {

struct ValidateRequest {
  std::vector<std::string> files;
  std::vector<std::string> profiles;
  bool summary_only = false;
  double tolerance = 0;  // 0: none
};

MetricValue or_null(const std::string& text) { return text.empty() ? MetricValue() : MetricValue(text); }
MetricValue or_null(std::optional<double> value) { return value ? MetricValue(*value) : MetricValue(); }

MetricTable row_table(const std::vector<ComparedRow>& rows) {
  MetricTable table(
      {{"id", MetricUnit::kNone, "id", "Of the measured row"},
       {"law", MetricUnit::kNone, "law", "Which law predicts it"},
       {"metric", MetricUnit::kNone, "metric", "What is compared, in the unit of its suffix"},
       {"hardware", MetricUnit::kNone, "hardware", "As the file spells it"},
       {"quality", MetricUnit::kNone, "quality", "A: by the measuring party; B: a setting missing; C: second-hand"},
       {"rank_group", MetricUnit::kNone, "rank group", "Rows that differ only in layout", MetricShown::kMachinesOnly},
       {"predicted", MetricUnit::kNone, "predicted", "By the laws of today"},
       {"measured", MetricUnit::kNone, "measured", "As the file says"},
       {"relative_error", MetricUnit::kRatio, "error", "predicted / measured - 1"},
       {"assumed", MetricUnit::kNone, "assumed", "What the row leaves open", MetricShown::kMachinesOnly},
       {"skipped", MetricUnit::kNone, "skipped because", "Why there is no prediction"}});
  for (const ComparedRow& row : rows) {
    const bool skipped = !row.skipped.empty();
    const auto unless_skipped = [&](double value) { return skipped ? MetricValue() : MetricValue(value); };
    table.add_row(
        {row.id, or_null(row.law), or_null(row.metric), row.hardware, row.quality, or_null(row.rank_group),
         unless_skipped(row.predicted), row.measured > 0 ? MetricValue(row.measured) : MetricValue(),
         skipped ? MetricValue() : MetricValue(row.relative_error()), or_null(row.assumed), or_null(row.skipped)},
        skipped ? RowTone::kFaint : RowTone::kPlain);
  }
  return table;
}

MetricTable error_table(const std::vector<ErrorStatistics>& list, std::string ErrorStatistics::*by,
                        const std::string& key) {
  std::vector<MetricColumn> columns = {{"metric", MetricUnit::kNone, "metric", "What is compared"}};
  if (by != nullptr) columns.push_back({key, MetricUnit::kNone, key, "Of the rows"});
  columns.insert(columns.end(), {{"rows", MetricUnit::kNone, "rows", "Predicted"},
                                 {"median", MetricUnit::kRatio, "median", "Of |relative error|"},
                                 {"p90", MetricUnit::kRatio, "90th percentile", "Of |relative error|"},
                                 {"bias", MetricUnit::kRatio, "bias", "Median of the signed error"}});
  MetricTable table(std::move(columns));
  for (const ErrorStatistics& errors : list) {
    std::vector<MetricValue> values = {errors.metric};
    if (by != nullptr) values.emplace_back(errors.*by);
    values.insert(values.end(), {errors.rows, errors.median, errors.p90, errors.bias});
    table.add_row(std::move(values));
  }
  return table;
}

MetricTable skipped_table(const ValidationSummary& summary) {
  MetricTable table({{"reason", MetricUnit::kNone, "skipped because", "Why there is no prediction"},
                     {"rows", MetricUnit::kNone, "rows", "How many"}});
  for (const auto& [reason, rows] : summary.skipped) table.add_row({reason, rows}, RowTone::kFaint);
  return table;
}

MetricTable rank_group_table(const ValidationSummary& summary) {
  MetricTable table(
      {{"rank_group", MetricUnit::kNone, "rank group", "Rows that differ only in layout, schedule or recompute"},
       {"metric", MetricUnit::kNone, "metric", "By which they are ordered"},
       {"rows", MetricUnit::kNone, "rows", "Predicted"},
       {"kendall_tau", MetricUnit::kNone, "Kendall's tau", "1: the same order; -1: the reverse"},
       {"regret", MetricUnit::kRatio, "regret", "How much worse our first choice is than the best measured"},
       {"our_choice", MetricUnit::kNone, "our choice", "Predicted best"},
       {"best", MetricUnit::kNone, "best", "Measured best"}});
  for (const RankGroupSummary& group : summary.rank_groups)
    table.add_row({group.rank_group, group.metric, group.rows, or_null(group.kendall_tau), group.regret,
                   group.our_choice, group.best});
  return table;
}

void add_summary(Report& report, const ValidationSummary& summary) {
  report.add_rows("summary.skipped", "Skipped", skipped_table(summary));
  report.add_rows("summary.by_hardware", "By hardware",
                  error_table(summary.by_hardware, &ErrorStatistics::hardware, "hardware"));
  report.add_rows("summary.by_quality", "By quality",
                  error_table(summary.by_quality, &ErrorStatistics::quality, "quality"));
  report.add_rows("summary.by_law", "By law", error_table(summary.by_law, &ErrorStatistics::law, "law"));
  report.add_rows("summary.by_metric", "All", error_table(summary.by_metric, nullptr, ""));
  report.add_rows("summary.rank_groups", "Rank groups", rank_group_table(summary));
  report.add_record(
      "summary.totals", "Totals",
      record_of(
          {{{"rows", MetricUnit::kNone, "rows", "Read"}, summary.rows},
           {{"predicted", MetricUnit::kNone, "predicted", "The others were skipped"}, summary.predicted},
           {{"rank_groups", MetricUnit::kNone, "rank groups", "With two predicted rows at least"},
            static_cast<std::int64_t>(summary.rank_groups.size())},
           {{"median_kendall_tau", MetricUnit::kNone, "median tau", "Over rank groups"},
            or_null(summary.median_kendall_tau)},
           {{"median_regret", MetricUnit::kRatio, "median regret", "Over rank groups"}, or_null(summary.median_regret)},
           {{"mean_regret", MetricUnit::kRatio, "mean regret", "Over rank groups"}, or_null(summary.mean_regret)},
           {{"right_choice_share", MetricUnit::kRatio, "right choices", "Rank groups with regret 0"},
            or_null(summary.right_choice_share)}}));
}

// Quality A is what the tolerance is for; B and C have settings missing.
Status check_tolerance(const ValidationSummary& summary, double tolerance) {
  if (tolerance <= 0) return {};
  for (const ErrorStatistics& errors : summary.by_quality)
    if (errors.quality == "A" && errors.median > tolerance)
      return fail(ErrorKind::kOutsideTolerance,
                  fmt::format("{}: the median error of quality A is {:.1f} %, more than the tolerance of {:.1f} %",
                              errors.metric, errors.median * 100, tolerance * 100));
  return {};
}

std::set<std::string> measured_devices(const std::vector<ComparedRow>& rows) {
  std::set<std::string> names;
  for (const ComparedRow& row : rows)
    if (const Result<DeviceSpec> device = find_device(row.hardware)) names.insert(device->name);
  return names;
}

RunResult run_validate(Session& session, const ValidateRequest& request) {
  MOESIM_TRY(session.check_output());
  Report report = session.new_report();
  MOESIM_ASSIGN(const std::vector<Profile> profiles, load_profiles(request.profiles));
  for (const std::string& profile : request.profiles) report.inputs.push_back(input_record("profile", profile));
  std::vector<ComparedRow> rows;
  for (const std::string& file : request.files) {
    MOESIM_ASSIGN(std::vector<ComparedRow> of_file, compare_file(file, profiles));
    std::move(of_file.begin(), of_file.end(), std::back_inserter(rows));
    report.inputs.push_back(input_record("measurements", file));
  }
  report.notes = notes_of_other_devices(request.profiles, profiles, measured_devices(rows), "these measurements");
  const ValidationSummary summary = summarize_validation(rows);
  report.add_rows("rows", "", row_table(rows)).shown =
      request.summary_only ? SectionShown::kMachinesOnly : SectionShown::kEverywhere;
  add_summary(report, summary);
  MOESIM_TRY(session.emit(report));
  const Status within = check_tolerance(summary, request.tolerance);
  if (within) return kExitOk;
  session.print_error(within.error());  // the answer itself is complete and has been given
  return static_cast<int>(within.error().kind);
}

}  // namespace

void add_validate(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("validate", "Predictions beside published measurements, with their errors");
  command->footer(
      "moesim validate collectives.csv gemm.csv --summary\n"
      "moesim validate training_throughput.csv --json | jq .summary.totals\n"
      "# in CI: exit code 5 when the median error of quality A exceeds 15 %\n"
      "moesim validate gemm.csv --tolerance 0.15");
  auto request = std::make_shared<ValidateRequest>();
  command->add_option("files", request->files, "CSV files of measurements, told apart by their columns")
      ->option_text("FILE...")
      ->required();
  add_profile_option(*command, request->profiles);
  command->add_flag("--summary", request->summary_only, "Leave the single rows out of the table");
  command
      ->add_option("--tolerance", request->tolerance, "Exit with 5 when a median error of quality A exceeds this ratio")
      ->option_text("RATIO")
      ->check(number_in(0.0, 1e9));
  session.add_output_options(*command);
  session.run_when_chosen(*command, [&session, request] { return run_validate(session, *request); });
}

}  // namespace moesim
