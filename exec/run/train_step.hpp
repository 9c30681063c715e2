// One rank of a training run: the operations of its stage, with real kernels and real communication.
//
// Every rank lowers the same plan, has a communicator over all ranks of the plan's layout and calls `step` equally often.
// Gradients are those of the mean loss over all tokens of the global batch. After an error a runner is of no more use, and
// the other ranks wait until somebody tells them (Communicator::abort_all): the caller, when it has said why.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "exec/run/compute_wait.hpp"
#include "exec/run/issue_order.hpp"
#include "exec/run/issued_compute.hpp"
#include "exec/run/op_table.hpp"
#include "exec/run/rank_context.hpp"

namespace moesim {

// An operation as it ran; times are those of the clock. Communication runs from its start to when its result is in place.
struct ExecutedOp {
  std::int32_t call = 0;  // of the stage
  std::int32_t op = 0;    // of the call's block
  Seconds start;
  Seconds end;
  Bytes held{};  // of the pool, when it had ended
};

// Of this rank, so far.
struct MemoryUse {
  Bytes states;   // weights, gradients, optimizer: held
  Bytes tensors;  // activations and their gradients, at their peak; what the memory walk predicts
  Bytes staging;  // what the program does not name, at its peak
  Bytes pool;     // taken from the device, and of it
  Bytes planned;  // what the memory walk asked for
};

struct StepResult {
  double loss = 0;              // mean over the tokens of the global batch; the same on all ranks
  double gradient_norm = 0;     // before clipping
  std::vector<ExecutedOp> ops;  // in the order in which they ended
  MemoryUse memory;
};

// What weights, gradients or moments all ranks together hold; see WholeMatrices.
enum class ParameterPart : std::uint8_t { kValue, kGradient };

class RankRunner {
 public:
  // `program`, `backend` and `comm` must outlive the runner. The plan must have passed check_executable().
  [[nodiscard]] static Result<std::unique_ptr<RankRunner>> make(const Program& program, const RunSettings& settings,
                                                                SequenceSource source, ComputeBackend& backend,
                                                                Communicator& comm, Clock clock);

  // From now on computation ends when it has taken so long, with a backend without_kernels().
  void compute_by_waiting(OperationWaits waits) { waits_ = std::move(waits); }
  // The next step of training.
  [[nodiscard]] Result<StepResult> step();
  // What this rank knows for sure: with ZeRO its own parts. Gradients are those of the last step.
  [[nodiscard]] Result<WholeMatrices> matrices(ParameterPart part);
  [[nodiscard]] const IssueOrder& order() const { return order_; }
  [[nodiscard]] RankContext& context() { return rank_; }

 private:
  RankRunner(const Program& program, const RunSettings& settings, SequenceSource source, ComputeBackend& backend,
             Communicator& comm, Clock clock);
  struct Running {
    std::int32_t item = -1;
    Seconds start;
    CommTask task;
    Seconds until;  // not done before
  };

  [[nodiscard]] Status run_ops(StepResult& result);
  [[nodiscard]] Result<bool> start_ready(Stream stream, StepResult& result);
  [[nodiscard]] Result<bool> finish_arrived(Stream stream, StepResult& result);
  // With an asynchronous backend: gives an operation to the device; ends those that the device has run.
  [[nodiscard]] Status issue(std::int32_t item, const OpContext& context);
  [[nodiscard]] Result<bool> finish_computed(StepResult& result);
  [[nodiscard]] Result<CommTask> start_exchange_of_device(const OpContext& context);
  [[nodiscard]] OpContext context_of(const IssueOrder::Item& item);
  void finish(std::int32_t item, Seconds start, Seconds end, StepResult& result);
  [[nodiscard]] Result<double> mean_loss();

  const Program& program_;
  Communicator& comm_;
  Clock clock_;
  RankContext rank_;
  IssueOrder order_;
  std::array<Running, kStreams> running_;
  IssuedCompute issued_;  // empty unless the backend is asynchronous
  OperationWaits waits_;  // empty: kernels take what they take
  // When the operation whose wait has just been noticed to be over should have ended: what follows it at once counts from there,
  // or every operation would be as late as the look at the clock.
  Seconds compute_freed_;
  std::int64_t steps_ = 0;
};

}  // namespace moesim
