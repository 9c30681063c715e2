#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "sim/report/json_printer.hpp"
#include "sim/report/table_printer.hpp"

namespace moesim {
namespace {

MetricTable plan_table() {
  MetricTable table({{"layout.tp", MetricUnit::kNone, "TP", "Tensor parallelism"},
                     {"layout.ep", MetricUnit::kNone, "EP", "Expert parallelism"},
                     {"step_time_s", MetricUnit::kSeconds, "step", "One step"},
                     {"fits", MetricUnit::kNone, "fits", ""},
                     {"hash", MetricUnit::kNone, "hash", "", MetricShown::kMachinesOnly},
                     {"reason", MetricUnit::kNone, "reason", "Why"}});
  table.add_row({std::int64_t{1}, std::int64_t{8}, 1.25, true, std::string("ab"), std::string("best")});
  table.add_row({std::int64_t{16}, std::int64_t{1}, {}, false, std::string("cd"), std::string("needs \"80\", more")},
                RowTone::kBad);
  return table;
}

Report plan_report() {
  Report report;
  report.tool = {"moesim", "0.1.0", ""};
  report.inputs.push_back({"model", "zoo:x", std::nullopt, ""});
  report.add_rows("plans", "Plans", plan_table());
  report.add_record("summary.totals", "", record_of({{{"gpus", MetricUnit::kNone, "GPUs", ""}, std::int64_t{64}}}));
  report.notes = {"a note"};
  return report;
}

TEST(TablePrinter, AlignsNumbersRightAndWordsLeft) {
  EXPECT_EQ(to_text(plan_table(), {}),
            "TP  EP     step  fits  reason\n"
            " 1   8  1.250 s  yes   best\n"
            "16   1        -  no    needs \"80\", more\n");
}

TEST(TablePrinter, WholeReportWithLegend) {
  EXPECT_EQ(to_text(plan_report(), {Colour::kOff, Legend::kOn}),
            "Plans\n"
            "TP  EP     step  fits  reason\n"
            " 1   8  1.250 s  yes   best\n"
            "16   1        -  no    needs \"80\", more\n"
            "\n"
            "  TP      Tensor parallelism\n"
            "  EP      Expert parallelism\n"
            "  step    One step\n"
            "  reason  Why\n"
            "\n"
            "GPUs  64\n"
            "\n"
            "note: a note\n");
}

TEST(TablePrinter, ColourOnlyWhenAsked) {
  EXPECT_EQ(to_text(plan_report(), {}).find('\x1b'), std::string::npos);
  const std::string coloured = to_text(plan_table(), {Colour::kOn, Legend::kOff});
  EXPECT_NE(coloured.find("\x1b[1mTP"), std::string::npos);
  EXPECT_NE(coloured.find("\x1b[31m16"), std::string::npos);
}

TEST(TablePrinter, DataCannotDriveTheTerminal) {
  MetricTable table({{"name", MetricUnit::kNone, "name", ""}});
  table.add_row({std::string("evil\x1b[2J")});
  EXPECT_EQ(to_text(table, {}), "name\nevil?[2J\n");
}

TEST(TablePrinter, EmptyTablesAreLeftOut) {
  Report report;
  report.add_rows("rows", "Title", MetricTable({{"a", MetricUnit::kNone, "a", ""}}));
  EXPECT_EQ(to_text(report, {}), "");
}

TEST(Markdown, TablesWithEscapedBars) {
  Report report;
  MetricTable table({{"a", MetricUnit::kNone, "a|b", ""}, {"n", MetricUnit::kNone, "n", ""}});
  table.add_row({std::string("x|y"), std::int64_t{1}});
  report.add_rows("rows", "Rows", std::move(table));
  EXPECT_EQ(to_markdown(report), "### Rows\n\n| a\\|b | n |\n|---|---:|\n| x\\|y | 1 |\n");
}

TEST(JsonPrinter, NestsDottedKeysAndKeepsTheOrder) {
  const nlohmann::ordered_json json = to_json(plan_report());
  EXPECT_EQ(json.dump(),
            R"({"schema_version":1,"tool":{"name":"moesim","version":"0.1.0","revision":null},)"
            R"("inputs":[{"role":"model","source":"zoo:x","bytes":null,"sha256":null}],)"
            R"("plans":[{"layout":{"tp":1,"ep":8},"step_time_s":1.25,"fits":true,"hash":"ab","reason":"best"},)"
            R"({"layout":{"tp":16,"ep":1},"step_time_s":null,"fits":false,"hash":"cd","reason":"needs \"80\", more"}],)"
            R"("summary":{"totals":{"gpus":64}},"notes":["a note"]})");
}

TEST(JsonPrinter, WhatJsonLacksIsNullOrReplaced) {
  Report report;
  MetricTable table({{"x", MetricUnit::kNone, "x", ""}, {"name", MetricUnit::kNone, "name", ""}});
  table.add_row({std::nan(""), std::string("a\xFF")});
  report.add_rows("rows", "", std::move(table));
  EXPECT_EQ(to_json_lines(report), "{\"x\":null,\"name\":\"a\xEF\xBF\xBD\"}\n");
}

TEST(Csv, QuotesWhatNeedsIt) {
  EXPECT_EQ(to_csv(plan_report()),
            "layout.tp,layout.ep,step_time_s,fits,hash,reason\n"
            "1,8,1.25,true,ab,best\n"
            "16,1,,false,cd,\"needs \"\"80\"\", more\"\n");
}

TEST(ErrorJson, NamesCodeAndExitCode) {
  const auto json = nlohmann::json::parse(error_json_text({ErrorKind::kInvalidInput, "is empty", "a.json", ""}));
  EXPECT_EQ(json["error"]["code"], "invalid_input");
  EXPECT_EQ(json["error"]["exit_code"], 3);
  EXPECT_EQ(json["error"]["message"], "is empty");
  EXPECT_EQ(json["error"]["where"], "a.json");
  EXPECT_TRUE(json["error"]["hint"].is_null());
}

TEST(InputRecord, HashesFilesOnly) {
  const std::string path = testing::TempDir() + "/moesim_input_record";
  std::ofstream(path) << "abc";
  const InputRecord file = input_record("plan", path);
  EXPECT_EQ(file.bytes, 3);
  EXPECT_EQ(file.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  std::filesystem::remove(path);
  const InputRecord preset = input_record("cluster", "preset:h100");
  EXPECT_EQ(preset.bytes, std::nullopt);
  EXPECT_EQ(preset.sha256, "");
}

}  // namespace
}  // namespace moesim
