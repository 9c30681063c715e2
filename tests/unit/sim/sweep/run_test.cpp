#include "sim/sweep/run.hpp"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/csv.hpp"
#include "base/text.hpp"
#include "sim/sweep/evaluator.hpp"
#include "sweep_testing.hpp"

namespace moesim {
namespace {

// Asks a run to stop once so many rows are finished.
class Stopper final : public ProgressSink {
 public:
  Stopper(std::atomic<bool>& stop, std::uint64_t at) : stop_(stop), at_(at) {}
  void update(std::uint64_t done, std::uint64_t, std::string_view) override {
    if (done >= at_) stop_ = true;
  }

 private:
  std::atomic<bool>& stop_;
  std::uint64_t at_;
};

// Leaves the journal of a run that was stopped before it wrote its result.
Error stopped_run(const std::string& output, std::uint64_t after) {
  std::atomic<bool> stop{false};
  Stopper stopper(stop, after);
  SweepOptions options = options_to(output);
  options.stop = StopToken(stop);
  options.progress = &stopper;
  const auto result = run_alone(small_sweep(), options);
  EXPECT_FALSE(result.has_value());
  return result ? Error{} : result.error();
}

TEST(SweepRun, SummaryCountsTheRows) {
  const TemporaryFolder folder;
  const auto summary = run_alone(small_sweep(), options_to(folder.file("a.csv")));
  ASSERT_TRUE(summary.has_value()) << summary.error().what;
  EXPECT_EQ(summary->points, 12);
  EXPECT_EQ(summary->invalid, 4);  // tp 3 on 8 devices
  EXPECT_EQ(summary->ok, 8);
  EXPECT_EQ(summary->failed, 0);
  EXPECT_EQ(summary->resumed, 0);
  ASSERT_TRUE(summary->best.has_value());
  EXPECT_FALSE(std::filesystem::exists(journal_path(folder.file("a.csv"))));
}

TEST(SweepRun, RowsSayWhyAPlanIsInvalid) {
  const auto evaluator = SweepEvaluator::create(small_sweep());
  ASSERT_TRUE(evaluator.has_value());
  const SweepRow row = evaluator->evaluate(8);
  EXPECT_EQ(row[sweep_column("status")], MetricValue(std::string("invalid")));
  EXPECT_EQ(row[sweep_column("error")],
            MetricValue(std::string("world size (8) is not divisible by tp x cp x pp (3 x 1 x 1)")));
  EXPECT_EQ(row[sweep_column("dp")], MetricValue());
  EXPECT_EQ(row[sweep_column("step_time_s")], MetricValue());
}

TEST(SweepRun, RowsSayWhetherTheTraceIsSynthetic) {
  SweepSpec spec = SweepSpec::empty();
  const auto set = [&spec](SweepField field, const char* text) {
    const auto axis = parse_axis(field, text);
    ASSERT_TRUE(axis.has_value()) << axis.error().what;
    spec.set_axis(*axis);
  };
  set(SweepField::kModel, "zoo:mixtral-8x7b");
  set(SweepField::kCluster, "preset:h100");
  set(SweepField::kSeqLength, "512");
  set(SweepField::kGlobalBatch, "16");
  set(SweepField::kTp, "1,3");  // 3 is invalid: such rows have an origin too
  set(SweepField::kTrace, "bundled:byte-moe-8-balanced,balanced");
  const auto evaluator = SweepEvaluator::create(spec);
  ASSERT_TRUE(evaluator.has_value()) << evaluator.error().what;
  for (const std::int64_t point : {0, 1, 2, 3}) {
    const SweepRow row = evaluator->evaluate(point);
    const bool balanced = row[sweep_column("trace")] == MetricValue(std::string("balanced"));
    EXPECT_EQ(row[sweep_column("trace_origin")], balanced ? MetricValue() : MetricValue(std::string("recorded")));
  }
}

TEST(SweepRun, RowsSurviveTheJournalExactly) {
  const auto evaluator = SweepEvaluator::create(small_sweep());
  ASSERT_TRUE(evaluator.has_value());
  for (const std::int64_t point : {0, 5, 11}) {
    const SweepRow row = evaluator->evaluate(point);
    const auto back = row_from_json(row_to_json(row));
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(*back, row);
  }
}

TEST(SweepRun, ThreadsDoNotChangeAByte) {
  const TemporaryFolder folder;
  for (const char* suffix : {".csv", ".json", ".jsonl", ".db"}) {
    SweepOptions one = options_to(folder.file(std::string("one") + suffix));
    SweepOptions three = options_to(folder.file(std::string("three") + suffix));
    three.jobs = 3;
    ASSERT_TRUE(run_alone(small_sweep(), one).has_value());
    ASSERT_TRUE(run_alone(small_sweep(), three).has_value());
    EXPECT_EQ(content_of(one.output), content_of(three.output)) << suffix;
  }
}

TEST(SweepRun, StoppedRunsGoOnWhereTheyEnded) {
  const TemporaryFolder folder;
  ASSERT_TRUE(run_alone(small_sweep(), options_to(folder.file("whole.csv"))).has_value());
  const Error error = stopped_run(folder.file("part.csv"), 4);
  EXPECT_EQ(error.kind, ErrorKind::kInterrupted);
  EXPECT_FALSE(std::filesystem::exists(folder.file("part.csv")));
  const auto summary = run_alone(small_sweep(), options_to(folder.file("part.csv")));
  ASSERT_TRUE(summary.has_value()) << summary.error().what;
  EXPECT_GE(summary->resumed, 4);
  EXPECT_LT(summary->resumed, 12);
  EXPECT_EQ(content_of(folder.file("part.csv")), content_of(folder.file("whole.csv")));
}

TEST(SweepRun, ATornLastLineIsDroppedAtEveryByte) {
  const TemporaryFolder folder;
  stopped_run(folder.file("a.csv"), 4);
  const std::string path = journal_path(folder.file("a.csv"));
  const std::string whole = content_of(path);
  const std::size_t last = whole.rfind('\n', whole.size() - 2) + 1;
  const auto evaluator = SweepEvaluator::create(small_sweep());
  ASSERT_TRUE(evaluator.has_value());
  const JournalIdentity identity{evaluator->fingerprint(), "1 test", 12};
  const auto rows = static_cast<std::int64_t>(std::count(whole.begin(), whole.end(), '\n')) - 1;
  for (std::size_t size = last; size < whole.size(); ++size) {
    ASSERT_TRUE(write_file_atomically(path, whole.substr(0, size)).has_value());
    const auto journal = SweepJournal::open(path, identity, JournalStart::kResume);
    ASSERT_TRUE(journal.has_value()) << "cut at " << size << ": " << journal.error().what;
    EXPECT_EQ(journal->finished(), rows - 1);
    EXPECT_EQ(content_of(path), whole.substr(0, last));
  }
  ASSERT_TRUE(write_file_atomically(path, whole).has_value());
  const auto journal = SweepJournal::open(path, identity, JournalStart::kResume);
  ASSERT_TRUE(journal.has_value());
  EXPECT_EQ(journal->finished(), rows);
}

TEST(SweepRun, ATornHeaderStartsAgain) {
  const TemporaryFolder folder;
  stopped_run(folder.file("a.csv"), 4);
  const std::string path = journal_path(folder.file("a.csv"));
  const std::string whole = content_of(path);
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, whole.find('\n')}) {
    ASSERT_TRUE(write_file_atomically(path, whole.substr(0, size)).has_value());
    const auto summary = run_alone(small_sweep(), options_to(folder.file("a.csv")));
    ASSERT_TRUE(summary.has_value()) << summary.error().what;
    EXPECT_EQ(summary->resumed, 0);
  }
}

TEST(SweepRun, ADamagedLineInTheMiddleIsAnError) {
  const TemporaryFolder folder;
  stopped_run(folder.file("a.csv"), 4);
  const std::string path = journal_path(folder.file("a.csv"));
  std::string whole = content_of(path);
  whole[whole.find('\n') + 1] = '#';
  ASSERT_TRUE(write_file_atomically(path, whole).has_value());
  const auto result = run_alone(small_sweep(), options_to(folder.file("a.csv")));
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().kind, ErrorKind::kInvalidInput);
  EXPECT_EQ(result.error().what, "line 2 of the journal is not a row of a sweep");
}

TEST(SweepRun, AnotherSweepsJournalIsRefusedUntilRestart) {
  const TemporaryFolder folder;
  stopped_run(folder.file("a.csv"), 4);
  SweepSpec other = small_sweep();
  const auto axis = parse_axis(SweepField::kGlobalBatch, "32");
  ASSERT_TRUE(axis.has_value());
  other.set_axis(*axis);
  SweepOptions options = options_to(folder.file("a.csv"));
  const auto refused = run_alone(other, options);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().what, "the journal belongs to another sweep, or an input has changed since");
  EXPECT_NE(refused.error().hint.find("--restart"), std::string::npos);
  options.start = JournalStart::kRestart;
  const auto summary = run_alone(other, options);
  ASSERT_TRUE(summary.has_value());
  EXPECT_EQ(summary->resumed, 0);
}

TEST(SweepRun, AnotherVersionsJournalIsRefused) {
  const TemporaryFolder folder;
  stopped_run(folder.file("a.csv"), 4);
  SweepOptions options = options_to(folder.file("a.csv"));
  options.tool.version = "2";
  const auto refused = run_alone(small_sweep(), options);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().what, "the journal was written by another version (1 test), this is 2 test");
}

TEST(SweepRun, TwoSweepsDoNotShareAJournal) {
  const TemporaryFolder folder;
  const std::string path = journal_path(folder.file("a.csv"));
  const JournalIdentity identity{"x", "1 test", 12};
  const auto first = SweepJournal::open(path, identity, JournalStart::kResume);
  ASSERT_TRUE(first.has_value());
  const auto second = SweepJournal::open(path, identity, JournalStart::kResume);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().what, "another sweep is writing this journal");
}

TEST(SweepRun, UnreadableSourcesAreErrorsBeforeAnyWork) {
  const TemporaryFolder folder;
  for (const auto& [field, text] :
       {std::pair(SweepField::kModel, "zoo:no-such-model"), std::pair(SweepField::kCluster, "preset:none"),
        std::pair(SweepField::kTrace, "bundled:none,balanced"), std::pair(SweepField::kTrace, "-")}) {
    SweepSpec spec = small_sweep();
    const auto axis = parse_axis(field, text);
    ASSERT_TRUE(axis.has_value());
    spec.set_axis(*axis);
    EXPECT_FALSE(run_alone(spec, options_to(folder.file("a.csv"))).has_value()) << text;
    EXPECT_FALSE(std::filesystem::exists(journal_path(folder.file("a.csv"))));
  }
}

TEST(SweepRun, UnknownSuffixIsAUsageError) {
  for (const char* output : {"a.xlsx", "-", ".csv", ""}) {
    const auto result = run_alone(small_sweep(), options_to(output));
    ASSERT_FALSE(result.has_value()) << output;
    EXPECT_EQ(result.error().kind, ErrorKind::kUsage);
  }
}

// One value as CSV would write it, so that the three forms can be compared.
std::string text_of(const nlohmann::json& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  if (value.is_number_integer()) return std::to_string(value.get<std::int64_t>());
  return plain_text(MetricValue(value.get<double>()));
}

std::string text_of(sqlite3_stmt* row, int column, bool yes_no) {
  switch (sqlite3_column_type(row, column)) {
    case SQLITE_NULL: return "";
    case SQLITE_FLOAT: return plain_text(MetricValue(sqlite3_column_double(row, column)));
    case SQLITE_INTEGER:
      if (yes_no) return sqlite3_column_int(row, column) != 0 ? "true" : "false";
      return std::to_string(sqlite3_column_int64(row, column));
    default: return reinterpret_cast<const char*>(sqlite3_column_text(row, column));
  }
}

TEST(SweepRun, EveryFormatHoldsTheSameRows) {
  const TemporaryFolder folder;
  for (const char* name : {"a.csv", "a.json", "a.jsonl", "a.sqlite"})
    ASSERT_TRUE(run_alone(small_sweep(), options_to(folder.file(name))).has_value());
  const auto json = nlohmann::json::parse(content_of(folder.file("a.json")));
  ASSERT_EQ(json["rows"].size(), 12U);
  const std::string jsonl_text = content_of(folder.file("a.jsonl"));
  const auto lines = split(jsonl_text, '\n');
  auto csv = CsvReader::open(folder.file("a.csv"));
  ASSERT_TRUE(csv.has_value());
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(folder.file("a.sqlite").c_str(), &database), SQLITE_OK);
  sqlite3_stmt* row = nullptr;
  ASSERT_EQ(sqlite3_prepare_v2(database, "SELECT * FROM results ORDER BY point", -1, &row, nullptr), SQLITE_OK);
  const auto columns = sweep_columns();
  for (std::size_t i = 0; i < 12; ++i) {
    ASSERT_EQ(csv->next().value_or(false), true);
    ASSERT_EQ(sqlite3_step(row), SQLITE_ROW);
    EXPECT_EQ(nlohmann::json::parse(lines[i]), json["rows"][i]);
    for (std::size_t c = 0; c < columns.size(); ++c) {
      const nlohmann::json& value = json["rows"][i][columns[c].key];
      EXPECT_EQ(csv->text(columns[c].key), text_of(value)) << columns[c].key;
      EXPECT_EQ(text_of(row, static_cast<int>(c), value.is_boolean()), text_of(value)) << columns[c].key;
    }
  }
  EXPECT_EQ(sqlite3_step(row), SQLITE_DONE);
  sqlite3_finalize(row);
  sqlite3_close(database);
}

}  // namespace
}  // namespace moesim
