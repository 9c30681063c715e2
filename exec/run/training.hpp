// Some steps of training on one rank, and their record brought together on all ranks.
//
// Before each step the ranks meet. A step lasts from the moment when the last rank began it until the last operation of the rank
// has ended; what is told about it afterwards does not count. Its operations' times count from when the first rank began. Ranks of
// one machine share a clock; those of several find out how far theirs are apart (common_clock.hpp).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/stop_token.hpp"
#include "exec/run/expert_moves.hpp"
#include "exec/run/train_step.hpp"

namespace moesim {

// Before this step (from 0) experts take these slots.
struct SlotChange {
  std::int64_t before_step = 0;
  ExpertSlots slots;
};

struct TrainingJob {
  const Program& program;
  RunSettings settings;
  SequenceSource source;
  std::int64_t steps = 1;
  // Asked before each step but the first; when one rank is to stop, all do. The record then has the steps that were done.
  StopToken stop{};
  OperationWaits waits = {};  // see RankRunner::compute_by_waiting; empty: computes
  std::vector<SlotChange> changes = {};
  // All ranks sleep so long before each step. Systems give other work 1/20 of every second in which ranks of a real-time class
  // would not leave it any, all at once (Linux: 50 ms): in a pause it gets that without a step being interrupted.
  Seconds pause{0};
};

struct StepRecord {
  double loss = 0;
  double gradient_norm = 0;
  Seconds time;  // of this rank
};

// A change of slots, from when all ranks are ready for it until this one is through.
struct MoveRecord {
  std::int64_t before_step = 0;
  ExpertMoves moves;
  Seconds time;
};

// What one rank has to tell.
struct TrainingRecord {
  std::vector<StepRecord> steps;
  std::vector<MoveRecord> moves;
  std::vector<ExecutedOp> ops;  // of the last step; on all ranks from the same moment
  MemoryUse memory;
};

// Called on each rank after each of its steps; an error ends the training of all ranks.
using StepWatcher = std::function<Status(std::int64_t step, const StepResult& result, RankRunner& runner)>;

// An error of this rank is returned as it is; the other ranks hear of it when the caller says abort_all.
[[nodiscard]] Result<TrainingRecord> train(const TrainingJob& job, ComputeBackend& backend, Communicator& comm,
                                           const Clock& clock, const StepWatcher& watcher = {});

// The records of all ranks, on each of them.
[[nodiscard]] Result<std::vector<TrainingRecord>> gather_records(Communicator& comm, const TrainingRecord& mine);

// The numbers of all ranks, on each of them, by rank.
[[nodiscard]] Result<std::vector<std::vector<std::int32_t>>> gather_numbers(Communicator& comm,
                                                                            const std::vector<std::int32_t>& mine);

// Whether all ranks can go on: each brings how its preparations ended and a number that must be the same on all (a hash of
// plan and settings). Every rank gets the same answer: the error of the first rank that has one, with its number, or that
// the ranks were not given the same.
[[nodiscard]] Status agree(Communicator& comm, const Status& mine, std::uint64_t fingerprint);

}  // namespace moesim
