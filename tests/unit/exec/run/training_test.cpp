// What ranks tell each other around the steps, and how operations' times are read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#include "exec/run/common_clock.hpp"
#include "exec/run/operation_times.hpp"
#include "exec/run/recorder.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "tests/unit/exec/run/run_testing.hpp"

namespace moesim {
namespace {

using testing::ElementsAre;

std::vector<std::string> answers(const std::vector<Status>& brought, const std::vector<std::uint64_t>& fingerprints) {
  const auto rank_main = [&](Communicator& comm) -> Result<std::string> {
    const Status all = agree(comm, brought[comm.rank().index()], fingerprints[comm.rank().index()]);
    return all ? std::string("go") : all.error().what;
  };
  std::vector<std::string> texts;
  for (const auto& rank : run_local_world<std::string>(local_world(static_cast<int>(brought.size())), rank_main))
    texts.push_back(rank.value());
  return texts;
}

TEST(Agree, GoesOnWhenAllAreReadyForTheSame) {
  EXPECT_THAT(answers({{}, {}, {}}, {7, 7, 7}), ElementsAre("go", "go", "go"));
}

TEST(Agree, TellsEveryoneWhichRankHasAnError) {
  const Status bad = invalid_input("no such file", "plan.json");
  EXPECT_THAT(answers({{}, bad, {}}, {7, 0, 7}),
              ElementsAre("rank 1: no such file", "rank 1: no such file", "rank 1: no such file"));
  EXPECT_THAT(answers({bad, bad}, {0, 0}), ElementsAre("no such file", "no such file"));
}

TEST(Agree, NoticesDifferentPlans) {
  const std::string text = "ranks 0 and 2 were given different plans, models or settings";
  EXPECT_THAT(answers({{}, {}, {}}, {7, 7, 8}), ElementsAre(text, text, text));
}

// Clocks of three machines that are a day apart; a message takes nothing like a second.
TEST(CommonClock, MachinesLearnHowFarTheirClocksAreApart) {
  const std::vector<double> ahead = {0, 0, 86400, 86400, -86400};
  LocalWorld world = local_world(5);
  world.hosts = {"a", "a", "b", "b", "c"};
  const auto rank_main = [&](Communicator& comm) -> Result<double> {
    const Clock clock = [&, own = ahead[comm.rank().index()]] { return real_clock()() + Seconds(own); };
    MOESIM_ASSIGN(const Seconds difference, difference_to_first_clock(comm, Channel(3), clock));
    return difference.value();
  };
  const auto differences = run_local_world<double>(world, rank_main);
  EXPECT_EQ(differences[0].value(), 0);
  EXPECT_EQ(differences[1].value(), 0);  // beside rank 0
  EXPECT_NEAR(differences[2].value(), -86400, 1);
  EXPECT_EQ(differences[3].value(), differences[2].value());
  EXPECT_NEAR(differences[4].value(), 86400, 1);
}

// All operations of the program at time 0, by rank.
std::vector<std::vector<ExecutedOp>> nothing_took_time(const Program& program) {
  std::vector<std::vector<ExecutedOp>> ops(static_cast<std::size_t>(program.layout->world()));
  for (std::size_t rank = 0; rank < ops.size(); ++rank) {
    const auto& calls = program.stages[program.layout->stage(RankId(static_cast<int>(rank))).index()].calls;
    for (std::size_t call = 0; call < calls.size(); ++call) {
      const std::size_t count = program.blocks[static_cast<std::size_t>(calls[call].block)].ops.size();
      for (std::size_t op = 0; op < count; ++op)
        ops[rank].push_back({static_cast<std::int32_t>(call), static_cast<std::int32_t>(op), Seconds(0), Seconds(0)});
    }
  }
  return ops;
}
ExecutedOp& first_of_kind(const Program& program, std::vector<ExecutedOp>& ops, RankId rank, OpKind kind) {
  const auto& calls = program.stages[program.layout->stage(rank).index()].calls;
  for (ExecutedOp& ran : ops) {
    const Block& block = program.blocks[static_cast<std::size_t>(calls[static_cast<std::size_t>(ran.call)].block)];
    if (block.ops[static_cast<std::size_t>(ran.op)].kind == kind) return ran;
  }
  ADD_FAILURE() << "no such operation";
  return ops.front();
}
Seconds time_of(const std::vector<OperationTime>& times, const ExecutedOp& ran) {
  for (const OperationTime& time : times)
    if (time.call == ran.call && time.op == ran.op) return time.time;
  return Seconds(-1);
}

// Ranks 0 and 1 begin a dispatch at 3 and 5 s and have it at 9 and 9.5 s: whoever waits for it waits for 4.5 s.
TEST(OperationTimes, CollectivesLastFromTheLastBeginningToTheLastEnd) {
  const Result<Program> program = tiny_program(tiny_plan({.dp = 2, .ep = 2}), tiny_moe());
  ASSERT_TRUE(program.has_value());
  auto ops = nothing_took_time(*program);
  ExecutedOp& first = first_of_kind(*program, ops[0], RankId(0), OpKind::kDispatch);
  ExecutedOp& second = first_of_kind(*program, ops[1], RankId(1), OpKind::kDispatch);
  first.start = Seconds(3), first.end = Seconds(9);
  second.start = Seconds(5), second.end = Seconds(9.5);
  const auto times = operation_times(*program, ops);
  EXPECT_EQ(time_of(times[0], first), Seconds(4.5));
  EXPECT_EQ(time_of(times[1], second), Seconds(4.5));
}

// A receive that was posted at 0.5 s, of what is sent at 1 s, taken from the sender at 1.5 s and there at 2 s.
TEST(OperationTimes, TransfersLastUntilTheyAreThere) {
  const Result<Program> program = tiny_program(tiny_plan({.pp = 2}), tiny_dense());
  ASSERT_TRUE(program.has_value());
  auto ops = nothing_took_time(*program);
  ExecutedOp& send = first_of_kind(*program, ops[0], RankId(0), OpKind::kSend);
  ExecutedOp& receive = first_of_kind(*program, ops[1], RankId(1), OpKind::kReceive);
  send.start = Seconds(1), send.end = Seconds(1.5);
  receive.start = Seconds(0.5), receive.end = Seconds(2);
  const auto times = operation_times(*program, ops);
  EXPECT_EQ(time_of(times[0], send), Seconds(1));
  EXPECT_EQ(time_of(times[1], receive), Seconds(1));
}

// A sender that learns late, at 2.5 s, that its bytes were taken: the receive began when both ends were there, not earlier.
TEST(OperationTimes, TransfersBeginWithTheLaterOfTheirEnds) {
  const Result<Program> program = tiny_program(tiny_plan({.pp = 2}), tiny_dense());
  ASSERT_TRUE(program.has_value());
  auto ops = nothing_took_time(*program);
  ExecutedOp& send = first_of_kind(*program, ops[0], RankId(0), OpKind::kSend);
  ExecutedOp& receive = first_of_kind(*program, ops[1], RankId(1), OpKind::kReceive);
  send.start = Seconds(1), send.end = Seconds(2.5);
  receive.start = Seconds(0.5), receive.end = Seconds(2);
  const auto times = operation_times(*program, ops);
  const auto received = std::ranges::find_if(
      times[1], [&](const OperationTime& each) { return each.call == receive.call && each.op == receive.op; });
  ASSERT_NE(received, times[1].end());
  EXPECT_EQ(received->begun, Seconds(1));
  EXPECT_EQ(received->time, Seconds(1.5));
}

// What lies in a buffer before its receiver asks took no time.
TEST(OperationTimes, NothingLastsLessThanNoTime) {
  const Result<Program> program = tiny_program(tiny_plan({.pp = 2}), tiny_dense());
  ASSERT_TRUE(program.has_value());
  auto ops = nothing_took_time(*program);
  ExecutedOp& send = first_of_kind(*program, ops[0], RankId(0), OpKind::kSend);
  ExecutedOp& receive = first_of_kind(*program, ops[1], RankId(1), OpKind::kReceive);
  send.start = Seconds(1), send.end = Seconds(2);
  receive.start = Seconds(3), receive.end = Seconds(3);
  const auto times = operation_times(*program, ops);
  EXPECT_EQ(time_of(times[0], send), Seconds(0));
  EXPECT_EQ(time_of(times[1], receive), Seconds(0));
}

// With a clock that every look moves on by 1 us: computation is over when its time has come, and not before; communication is
// real.
TEST(ComputeWait, OperationsTakeWhatTheyAreTold) {
  const Result<Program> program = tiny_program(tiny_plan({.dp = 2, .ep = 2}), tiny_moe());
  ASSERT_TRUE(program.has_value());
  const auto rank_main = [&](Communicator& comm) -> Result<TrainingRecord> {
    const auto backend = without_kernels(make_cpu_backend());
    RunSettings settings;
    settings.gating = Gating::kReplay;
    const TrainingJob job{.program = *program,
                          .settings = settings,
                          .source = synthetic_sequences(program->model.vocab, 7),
                          .waits = [](std::int32_t, std::int32_t) { return Seconds(100e-6); }};
    double now = 0;
    return train(job, *backend, comm, [&now] { return Seconds(now += 1e-6); });
  };
  for (const auto& rank : run_local_world<TrainingRecord>(local_world(2), rank_main)) {
    ASSERT_TRUE(rank.has_value()) << rank.error().what;
    std::size_t computed = 0;
    for (const ExecutedOp& ran : rank->ops) {
      if (is_communication(program->op_at(StageId(0), ran.call, ran.op).kind)) continue;
      ++computed;
      EXPECT_GT(ran.end - ran.start, Seconds(99.9e-6));
      EXPECT_LT(ran.end - ran.start, Seconds(200e-6));
      EXPECT_GT(ran.held, Bytes(0));
    }
    EXPECT_GT(computed, 100U);
  }
}

// Of 8 equal experts a token's second is the first one's neighbour in its pair once in 7 times, not always.
TEST(ComputeWait, ExpertsAreChosenIndependentlyOfEachOther) {
  constexpr std::int64_t kTokens = 1024, kExperts = 8;
  const auto backend = without_kernels(make_cpu_backend());
  std::vector<float> logits(kTokens * kExperts, 0.0F);
  std::vector<float> chosen(kTokens * 4, 0.0F);
  const std::vector<std::int32_t> counts(kExperts, kTokens * 2 / kExperts);
  TopKArgs args;
  args.gate.top_k = 2;
  args.logits = {logits.data(), DType::kFp32, kTokens, kExperts, kExperts};
  args.forced_counts = counts;
  args.probabilities = {chosen.data(), DType::kFp32, kTokens, 4, 4};
  ASSERT_TRUE(backend->top_k({}, args).has_value());
  int neighbours = 0;
  for (std::size_t t = 0; t < kTokens; ++t) {
    const auto first = static_cast<int>(chosen[4 * t + 2]);
    const auto second = static_cast<int>(chosen[4 * t + 3]);
    if (first / 2 == second / 2) ++neighbours;
  }
  EXPECT_NEAR(neighbours, kTokens / 7.0, 4 * std::sqrt(kTokens * 6.0 / 49.0));
}

// What gates chose goes its way although nothing is computed, whatever takes it there.
TEST(ComputeWait, EveryMoeScheduleComesToItsEnd) {
  for (const MoeSchedule* schedule : moe_schedules()) {
    Plan plan = tiny_plan({.dp = 4, .ep = 4, .ep_on_node = schedule->visits() ? 2 : 1});
    plan.moe_schedule = schedule->name();
    const Result<Program> program = tiny_program(plan, tiny_moe());
    if (!program) continue;  // a layout that the schedule refuses
    const auto rank_main = [&](Communicator& comm) -> Result<TrainingRecord> {
      const auto backend = without_kernels(make_cpu_backend());
      RunSettings settings;
      settings.gating = Gating::kReplay;
      const TrainingJob job{.program = *program,
                            .settings = settings,
                            .source = synthetic_sequences(program->model.vocab, 7),
                            .waits = [](std::int32_t, std::int32_t) { return Seconds(1e-6); }};
      return train(job, *backend, comm, real_clock());
    };
    for (const auto& rank : run_local_world<TrainingRecord>(local_world(4), rank_main))
      ASSERT_TRUE(rank.has_value()) << schedule->name() << ": " << rank.error().what;
  }
}

TEST(Recorder, RowsOfAllRanksInTheOrderOfTheirKeys) {
  const Plan plan = tiny_plan({.dp = 2, .ep = 2});
  const Result<Program> program = tiny_program(plan, tiny_moe());
  ASSERT_TRUE(program.has_value());
  const auto rank_main = [&](Communicator& comm) -> Result<std::vector<ChoiceRow>> {
    const auto backend = make_cpu_backend();
    ChoiceRecorder recorder;
    const auto watch = [&](std::int64_t step, const StepResult&, RankRunner& runner) -> Status {
      recorder.take(step, runner.context());
      return {};
    };
    MOESIM_TRY(train({*program, {}, text_sequences("abcdefgh", 1), 2}, *backend, comm, real_clock(), watch));
    return recorder.gather(comm);
  };
  for (const auto& rank : run_local_world<std::vector<ChoiceRow>>(local_world(2), rank_main)) {
    ASSERT_TRUE(rank.has_value()) << rank.error().what;
    // 2 steps, 3 MoE layers, 4 micro-batches, 2 sources.
    ASSERT_EQ(rank->size(), 48U);
    EXPECT_TRUE(std::is_sorted(rank->begin(), rank->end(),
                               [](const ChoiceRow& a, const ChoiceRow& b) { return a.key < b.key; }));
    EXPECT_EQ(rank->back().key, (RowKey{1, 3, 3, 1}));
    for (const ChoiceRow& row : *rank) {
      std::uint32_t copies = 0;
      for (const std::uint32_t count : row.counts) copies += count;
      EXPECT_EQ(copies, 32U);  // 16 tokens, top-2
    }
  }
}

// Whatever the schedule lets a gate see, a recording has each token once, at the rank whose own it is.
TEST(Recorder, TheSameChoicesUnderEveryMoeSchedule) {
  const auto plan_of = [](const ParallelSizes& sizes, std::string_view schedule, bool sequence_parallel) {
    Plan plan = tiny_plan(sizes);
    plan.moe_schedule = schedule;
    plan.sequence_parallel = sequence_parallel;
    return plan;
  };
  const auto choices = [](const Plan& plan) {
    const Result<Program> program = tiny_program(plan, tiny_moe());
    EXPECT_TRUE(program.has_value());
    const auto rank_main = [&](Communicator& comm) -> Result<std::vector<ChoiceRow>> {
      const auto backend = make_cpu_backend();
      ChoiceRecorder recorder;
      const auto watch = [&](std::int64_t step, const StepResult&, RankRunner& runner) -> Status {
        recorder.take(step, runner.context());
        return {};
      };
      MOESIM_TRY(train({*program, {}, text_sequences("abcdefgh", 1), 1}, *backend, comm, real_clock(), watch));
      return recorder.gather(comm);
    };
    const auto ranks = run_local_world<std::vector<ChoiceRow>>(local_world(4), rank_main);
    EXPECT_TRUE(ranks[0].has_value());
    std::vector<std::pair<RowKey, std::vector<std::uint32_t>>> rows;
    for (const ChoiceRow& row : *ranks[0])
      if (row.key.layer == 1) rows.emplace_back(row.key, row.counts);  // the first that has experts
    return rows;
  };
  for (const MoeSchedule* schedule : moe_schedules()) {
    int compared = 0;
    for (const ParallelSizes& sizes :
         {ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2}, ParallelSizes{.tp = 2, .dp = 2, .ep = 4}}) {
      const auto expected = choices(plan_of(sizes, "megatron-a2a", true));
      EXPECT_FALSE(expected.empty());
      for (const bool sequence_parallel : {true, false}) {
        const Plan plan = plan_of(sizes, schedule->name(), sequence_parallel);
        if (!schedule->check(plan, *tiny_moe().first_moe())) continue;
        EXPECT_EQ(choices(plan), expected) << schedule->name();
        ++compared;
      }
    }
    EXPECT_GT(compared, 0) << schedule->name();
  }
}

// Asked of one rank alone, after its second step.
TEST(Training, AllRanksStopWhenOneIsAskedTo) {
  const Result<Program> program = tiny_program(tiny_plan({.dp = 2, .ep = 2}), tiny_moe());
  ASSERT_TRUE(program.has_value());
  const auto rank_main = [&](Communicator& comm) -> Result<std::size_t> {
    const auto backend = make_cpu_backend();
    std::atomic<bool> stop = false;
    const auto watch = [&](std::int64_t step, const StepResult&, RankRunner&) -> Status {
      stop = comm.rank() == RankId(1) && step == 1;
      return {};
    };
    const TrainingJob job{*program, {}, text_sequences("abcdefgh", 1), 50, StopToken(stop)};
    MOESIM_ASSIGN(const TrainingRecord record, train(job, *backend, comm, real_clock(), watch));
    EXPECT_FALSE(record.ops.empty());
    return record.steps.size();
  };
  for (const auto& steps : run_local_world<std::size_t>(local_world(2), rank_main)) {
    ASSERT_TRUE(steps.has_value()) << steps.error().what;
    EXPECT_EQ(*steps, 2U);
  }
}

// Two machines whose clocks are a day apart: without the difference, a dispatch would last that long.
TEST(Training, TimesOfSeveralMachinesCountFromOneMoment) {
  const Result<Program> program = tiny_program(tiny_plan({.dp = 2, .ep = 2}), tiny_moe());
  ASSERT_TRUE(program.has_value());
  LocalWorld world = local_world(2);
  world.hosts = {"a", "b"};
  const auto rank_main = [&](Communicator& comm) -> Result<TrainingRecord> {
    const auto backend = make_cpu_backend();
    const Clock clock = [own = 86400.0 * comm.rank().value()] { return real_clock()() + Seconds(own); };
    return train({*program, {}, text_sequences("abcdefgh", 1), 1}, *backend, comm, clock);
  };
  std::vector<std::vector<ExecutedOp>> ops;
  for (const auto& record : run_local_world<TrainingRecord>(world, rank_main)) {
    ASSERT_TRUE(record.has_value()) << record.error().what;
    ops.push_back(record->ops);
  }
  for (const auto& rank : operation_times(*program, ops))
    for (const OperationTime& each : rank) EXPECT_LT(each.time, Seconds(3600));
}

// Layer 1: 3 of 4 copies at one of two experts, 1.5 of the average; layer 2: even.
TEST(Recorder, ImbalanceIsTheBusiestOverTheAverageExpert) {
  const std::vector<ChoiceRow> rows = {{{5, 1, 0, 0}, {1, 0}}, {{5, 1, 0, 1}, {2, 1}}, {{5, 2, 0, 0}, {2, 2}}};
  const auto steps = imbalance_by_step(rows);
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].step, 5);
  EXPECT_DOUBLE_EQ(steps[0].imbalance, 1.25);
}

TEST(Batch, TextsGoOnAtTheirBeginning) {
  const SequenceSource source = text_sequences("abc", 1);
  const auto tokens = source(0, 5);
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i) EXPECT_EQ(tokens[i + 1], tokens[i] == 'c' ? 'a' : tokens[i] + 1);
  EXPECT_EQ(source(0, 5), tokens);
}

}  // namespace
}  // namespace moesim
