#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "base/text.hpp"
#include "base/unit_parser.hpp"
#include "calibration/quantile.hpp"
#include "exec/bench/cases.hpp"
#include "exec/bench/measure.hpp"
#include "exec/cli/commands/commands.hpp"
#include "exec/cli/device_options.hpp"
#include "exec/cli/world.hpp"
#include "sim/cli/number_range.hpp"
#include "sim/cli/output.hpp"

namespace moesim {
namespace {

struct BenchRequest {
  std::string budget = "5min";
  std::string only;  // families, with commas
  int ranks = 0;     // 0: one, or those of the launcher
  std::string scale;
  std::string format;  // empty: all
  std::string hardware;
  double spread = 0.03;
  DeviceOptions device;
  bool list = false;
  bool json = false;
};

// Nothing has moved for so long while a rank waits: it is given up.
constexpr Seconds kPatience(60);

// Minutes are how people think of it; moesim's other times are seconds and shorter.
Result<Seconds> parse_budget(const std::string& text) {
  std::string plain = text;
  double factor = 1;
  for (const auto& [unit, seconds] : {std::pair{"min", 60.0}, {"h", 3600.0}})
    if (text.ends_with(unit))
      plain = text.substr(0, text.size() - std::string_view(unit).size()) + "s", factor = seconds;
  const Result<Seconds> budget = parse_seconds(plain);
  if (!budget || budget->value() <= 0)
    return usage_error(fmt::format("--budget: '{}' is no time to spend", text), "write 30s, 5min or 1h");
  return *budget * factor;
}

std::vector<std::string> words_of(const std::string& list) {
  std::vector<std::string> words;
  if (list.empty()) return words;
  for (const std::string_view word : split(list, ',')) words.emplace_back(trim(word));
  return words;
}

BenchScale scale_of(const BenchRequest& request) {
  return request.scale == "large" ? BenchScale::kLarge : BenchScale::kSmall;
}

// Of its operands; nothing where it has none of its own.
std::optional<DType> format_of(const BenchWork& work) {
  if (const auto* gemm = std::get_if<GemmWork>(&work)) return gemm->type;
  if (const auto* grouped = std::get_if<GroupedRows>(&work)) return grouped->type;
  if (const auto* attention = std::get_if<AttentionWork>(&work)) return attention->type;
  if (const auto* memory = std::get_if<MemoryWork>(&work)) return memory->type;
  return std::nullopt;
}

Result<std::vector<PlannedCase>> cases_of(const BenchRequest& request, const std::vector<std::string>& hosts) {
  MOESIM_ASSIGN(std::vector<PlannedCase> cases, plan_cases(words_of(request.only), scale_of(request), hosts));
  if (request.format.empty()) return cases;
  MOESIM_ASSIGN(const DType wanted, parse_dtype(request.format));
  std::erase_if(cases, [wanted](const PlannedCase& one) { return format_of(one.work).value_or(wanted) != wanted; });
  return cases;
}

// Without exchanges that run between host buffers alone, where these are not.
void drop_unknown_exchanges(std::vector<PlannedCase>& cases, const Communicator& comm) {
  std::erase_if(cases, [&comm](const PlannedCase& one) {
    const auto* collective = std::get_if<CollectiveWork>(&one.work);
    return collective != nullptr && !comm.exchanges_by(collective->exchange);
  });
}

std::vector<std::string> hosts_of(const Communicator& comm) {
  std::vector<std::string> hosts;
  for (int rank = 0; rank < comm.size(); ++rank) hosts.emplace_back(comm.host_of(RankId(rank)));
  return hosts;
}

std::string command_line(const BenchRequest& request, const World& world, int ranks) {
  std::string line = fmt::format("moeexec bench --budget {} --spread {}", request.budget, request.spread);
  if (!request.only.empty()) line += fmt::format(" --only {}", request.only);
  if (!request.scale.empty()) line += fmt::format(" --scale {}", request.scale);
  if (!request.format.empty()) line += fmt::format(" --dtype {}", request.format);
  if (request.device.backend != "cpu")
    line += fmt::format(" --backend {} --device-transport {}", request.device.backend, request.device.transport);
  if (request.device.device >= 0) line += fmt::format(" --device {}", request.device.device);
  return world.has_processes() ? fmt::format("mpirun -n {} {}", ranks, line)
                               : fmt::format("{} --ranks {}", line, ranks);
}

BenchFile file_head(const Session& session, const BenchRequest& request, const World& world,
                    const BenchContext& context, Seconds budget, const std::string& hardware) {
  const ToolVersion tool = session.tool();
  return {.program = fmt::format("{} {} {}", tool.name, tool.version, tool.revision),
          .date = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))),
          .command = command_line(request, world, context.comm.size()),
          .hardware = request.hardware.empty() ? hardware : request.hardware,
          .backend = std::string(context.backend.name()),
          .budget_s = budget.value(),
          .hosts = hosts_of(context.comm),
          .cases = {}};
}

// Keeps the file on rank 0 as complete as it can be: a launcher that is told to stop kills its ranks within a second.
class Keeper {
 public:
  Keeper(const Session& session, BenchFile head, std::size_t all)
      : session_(session), file_(std::move(head)), all_(all) {
    if (::isatty(STDERR_FILENO) == 1) progress_ = session.progress("bench");
  }
  void between_cases(const Measured& so_far, std::size_t done, const std::string& next) {
    if (progress_) progress_->update(done, all_, next);
    const Seconds now = clock_();
    if (now - last_ < Seconds(1)) return;
    last_ = now;
    std::ignore = write(so_far);  // the last one counts
  }
  [[nodiscard]] Status write(const Measured& measured) {
    file_.cases = measured.cases;
    return write_output(session_.output().file, bench_json(file_), Overwrite::kAllow);
  }
  [[nodiscard]] const BenchFile& file() const { return file_; }

 private:
  const Session& session_;
  BenchFile file_;
  std::size_t all_;
  std::unique_ptr<ProgressSink> progress_;
  Clock clock_ = steady_clock();
  Seconds last_ = clock_();
};

struct Outcome {
  BenchFile file;
  bool stopped = false;
};

// One rank's part; rank 0 writes what was measured and tells of it.
Status measure_rank(const Session& session, const BenchRequest& request, const World& world, Seconds budget,
                    StopToken stop, Communicator& host, Outcome& outcome) {
  MOESIM_ASSIGN(const RankHardware hardware, RankHardware::open(request.device, host, world.comm_options()));
  ComputeBackend& backend = hardware.backend();
  Communicator& comm = hardware.comm();
  MOESIM_ASSIGN(const DeviceStream stream, backend.create_stream());
  BenchContext context{backend, stream, comm, steady_clock()};
  MOESIM_ASSIGN(std::vector<PlannedCase> cases, cases_of(request, hosts_of(comm)));
  drop_unknown_exchanges(cases, comm);
  if (cases.empty())
    return usage_error(fmt::format("--only: nothing of '{}' can be measured on {} rank{}", request.only, comm.size(),
                                   comm.size() == 1 ? "" : "s"),
                       "collectives take two ranks and exchanges three: give --ranks, or start it with mpirun");
  std::optional<Keeper> keeper;
  if (comm.rank() == RankId(0))
    keeper.emplace(session, file_head(session, request, world, context, budget, hardware.hardware()), cases.size());
  MeasureOptions options{.rules = {.spread = request.spread}, .budget = budget, .stop = stop, .progress = {}};
  if (keeper)
    options.progress = [&keeper](const Measured& so_far, std::size_t done, const std::string& next) {
      keeper->between_cases(so_far, done, next);
    };
  const Measured measured = measure(context, cases, options);
  backend.destroy_stream(stream);
  Status written;
  if (keeper) written = keeper->write(measured);
  if (measured.error) return tl::unexpected(*measured.error);
  MOESIM_TRY(written);
  if (keeper) outcome = {keeper->file(), measured.stopped};
  return {};
}

// "gemm" of "gemm bf16 64x1024x1024": what the cases of one kind have in common.
std::string_view kind_name(const BenchWork& work) {
  constexpr std::array<std::string_view, 8> kNames = {"gemm",   "grouped gemm", "attention",  "memory-bound",
                                                      "launch", "operation",    "collective", "overlap"};
  return kNames[work.index()];
}

MetricTable kinds_table(const BenchFile& file) {
  MetricTable table({{"kind", MetricUnit::kNone, "kind", "Of operation"},
                     {"cases", MetricUnit::kNone, "cases", "Measured"},
                     {"steady", MetricUnit::kNone, "steady", "Whose spread is within the bound"},
                     {"median_spread", MetricUnit::kRatio, "median spread", "Of the middle half of a case's samples"},
                     {"p90_spread", MetricUnit::kRatio, "90th percentile", "Of the spreads"}});
  std::map<std::string_view, std::vector<const BenchCase*>> by_kind;
  for (const BenchCase& one : file.cases) by_kind[kind_name(one.work)].push_back(&one);
  for (const auto& [kind, cases] : by_kind) {
    std::vector<double> spreads;
    std::int64_t steady = 0;
    for (const BenchCase* one : cases) {
      spreads.push_back(relative_spread(one->seconds));
      steady += one->end == SamplesEnd::kSteady ? 1 : 0;
    }
    table.add_row({std::string(kind), std::ssize(cases), steady, quantile(spreads, 0.5), quantile(spreads, 0.9)});
  }
  return table;
}

MetricTable cases_table(const BenchFile& file) {
  MetricTable table({{"name", MetricUnit::kNone, "case", "What was measured"},
                     {"time_s", MetricUnit::kSeconds, "time", "Median of the slowest rank"},
                     {"spread", MetricUnit::kRatio, "spread", "Of the middle half of the samples"},
                     {"samples", MetricUnit::kNone, "samples", "Taken"},
                     {"operations", MetricUnit::kNone, "operations", "In one sample"}});
  for (const BenchCase& one : file.cases)
    table.add_row({one.name, quantile(one.seconds, 0.5), relative_spread(one.seconds), std::ssize(one.seconds),
                   std::int64_t{one.operations}});
  return table;
}

Status print_report(const Session& session, const BenchRequest& request, const Outcome& outcome) {
  Report report = session.new_report();
  report.add_rows("kinds", "", kinds_table(outcome.file));
  report.add_rows("cases", "", cases_table(outcome.file)).shown = SectionShown::kMachinesOnly;
  report.notes.push_back(fmt::format("{} cases on {} rank{} in {}", outcome.file.cases.size(),
                                     outcome.file.hosts.size(), outcome.file.hosts.size() == 1 ? "" : "s",
                                     session.output().file));
  if (outcome.stopped) report.notes.emplace_back("stopped before the end; the file has the cases that were finished");
  // To stdout: the file of -o is the raw one.
  return write_output("-", render(report, request.json ? OutputFormat::kJson : OutputFormat::kTable, {}),
                      Overwrite::kRefuse);
}

Status print_list(const Session& session, const BenchRequest& request) {
  const std::vector<std::string> hosts(static_cast<std::size_t>(std::max(1, request.ranks)), "localhost");
  MOESIM_ASSIGN(const std::vector<PlannedCase> cases, cases_of(request, hosts));
  MetricTable table({{"name", MetricUnit::kNone, "case", "What would be measured"}});
  for (const PlannedCase& one : cases) table.add_row({one.name});
  Report report = session.new_report();
  report.add_rows("cases", "", std::move(table));
  return write_output("-", render(report, request.json ? OutputFormat::kJson : OutputFormat::kTable, {}),
                      Overwrite::kRefuse);
}

Result<Seconds> check_request(const Session& session, const BenchRequest& request, const World& world) {
  if (world.has_processes() && request.ranks > 0)
    return usage_error("--ranks is for threads of one process; this one was started by a launcher",
                       "leave --ranks out, or start the program without mpirun");
  MOESIM_ASSIGN(const Seconds budget, parse_budget(request.budget));
  MOESIM_TRY(plan_cases(words_of(request.only), scale_of(request), {"localhost"}));
  if (request.list) return budget;
  if (session.output().file.empty()) return usage_error("-o is required", "name the file for what is measured");
  MOESIM_TRY(check_device(request.device));
  if (world.leads()) {
    MOESIM_TRY(check_new_file(session.output().file, session.overwrite()));
  }
  return budget;
}

RunResult run_bench(Session& session, const BenchRequest& request) {
  MOESIM_ASSIGN(World world, World::join("moeexec", kPatience));
  const Result<Seconds> budget = check_request(session, request, world);
  MOESIM_ASSIGN(const NextStep next, agree_to_start(world, budget ? Status{} : tl::unexpected(budget.error()), 0));
  if (next == NextStep::kStop) return kExitOk;
  if (request.list) {
    if (world.leads()) {
      MOESIM_TRY(print_list(session, request));
    }
    return kExitOk;
  }
  const StopToken stop = Session::stop();
  Outcome outcome;
  MOESIM_TRY(world.run(world.has_processes() ? world.size() : std::max(1, request.ranks), [&](Communicator& comm) {
    return measure_rank(session, request, world, *budget, stop, comm, outcome);
  }));
  if (!world.leads()) return kExitOk;
  MOESIM_TRY(print_report(session, request, outcome));
  return outcome.stopped ? static_cast<int>(ErrorKind::kInterrupted) : kExitOk;
}

std::string families_text() {
  std::string text = "Measure only these, with commas:";
  for (const CaseFamily& family : case_families())
    text += fmt::format("{} {} ({})", &family == case_families().data() ? "" : ",", family.name, family.description);
  return text;
}

}  // namespace

void add_bench(CLI::App& app, Session& session) {
  CLI::App* command =
      app.add_subcommand("bench", "Measures kernels and collectives, for moesim calibrate; keeps every sample");
  command->footer(
      "moeexec bench --ranks 2 -o bench.json\n"
      "# a minute, only what the network needs, on 8 ranks\n"
      "mpirun -n 8 moeexec bench --only collectives,overlap --budget 1min -o network.json\n"
      "moesim calibrate bench.json network.json --cluster cluster.json -o profile.json");
  auto request = std::make_shared<BenchRequest>();
  command->add_option("--budget", request->budget, "Time to spend, split over the cases; steady ones take less")
      ->option_text("TIME [5min]");
  command->add_option("--only", request->only, families_text())->option_text("KINDS");
  command->add_option("--ranks", request->ranks, "Ranks, as threads of this process; under mpirun its own count")
      ->option_text("N [1]")
      ->check(CLI::Range(1, 1024));
  session.add_choice(*command, "--scale", request->scale, {"small", "large"},
                     "Sizes: for processors and slow links, or for accelerators");
  session.add_choice(*command, "--dtype", request->format, {"fp32", "bf16"},
                     "Kernels of this number format alone; collectives move bytes");
  command->add_option("--spread", request->spread, "A case is steady when half of its samples lie within this share")
      ->option_text("RATIO [0.03]")
      ->check(number_in(0.0, 1.0));
  command->add_option("--hardware", request->hardware, "What is measured, in your words; kept in the file")
      ->option_text("TEXT");
  add_device_options(*command, session, request->device);
  command->add_flag("--list", request->list, "Show what would be measured");
  command->add_flag("--json", request->json, "The summary as JSON")->group("Output");
  session.add_file_options(*command, FileOption::kOptional);
  session.run_when_chosen(*command, [&session, request] { return run_bench(session, *request); });
}

}  // namespace moesim
