#include "exec/cli/comparison.hpp"

#include <algorithm>
#include <map>
#include <tuple>

#include "exec/cli/execution_report.hpp"
#include "exec/run/operation_times.hpp"

namespace moesim {
namespace {

// Sums by name, kind and phase.
class OperationSums {
 public:
  explicit OperationSums(const Program& program) : program_(program) {}

  ComparedOperation& of(RankId rank, std::size_t call, std::size_t op) {
    const Op& found = program_.op_at(program_.layout->stage(rank), call, op);
    const std::string name(found.name.empty() ? op_kind_name(found.kind) : found.name);
    ComparedOperation& sum = sums_[{name, found.kind, found.phase}];
    sum.name = name;
    sum.kind = op_kind_name(found.kind);
    sum.phase = phase_name(found.phase);
    sum.communication = is_communication(found.kind);
    return sum;
  }
  [[nodiscard]] std::vector<ComparedOperation> longest_first() const {
    std::vector<ComparedOperation> list;
    for (const auto& [key, sum] : sums_) list.push_back(sum);
    std::ranges::stable_sort(list, std::greater{}, &ComparedOperation::measured);
    return list;
  }

 private:
  const Program& program_;
  std::map<std::tuple<std::string, OpKind, Phase>, ComparedOperation> sums_;
};

}  // namespace

ComparedPlan compare_with_prediction(const Job& job, const Prediction& prediction,
                                     const std::vector<TrainingRecord>& records) {
  OperationSums sums(job.program);
  for (const Interval& interval : prediction.intervals)
    sums.of(RankId(static_cast<std::int32_t>(interval.entity)), interval.call, interval.op).predicted +=
        seconds_of(interval.end - interval.start);
  std::vector<std::vector<ExecutedOp>> ops;
  for (const TrainingRecord& record : records) ops.push_back(record.ops);
  const auto times = operation_times(job.program, std::move(ops));
  for (std::size_t rank = 0; rank < times.size(); ++rank)
    for (const OperationTime& time : times[rank]) {
      ComparedOperation& sum = sums.of(RankId(static_cast<std::int32_t>(rank)), static_cast<std::size_t>(time.call),
                                       static_cast<std::size_t>(time.op));
      sum.measured += time.time;
      ++sum.count;
    }
  const PricedProgram& priced = prediction.priced;
  return {.name = run_name(job.file.plan),
          .predicted = prediction.step,
          .measured = median_step_time(records),
          .outside = priced.priced_ops > 0
                         ? static_cast<double>(priced.extrapolated_ops) / static_cast<double>(priced.priced_ops)
                         : 0,
          .operations = sums.longest_first()};
}

}  // namespace moesim
