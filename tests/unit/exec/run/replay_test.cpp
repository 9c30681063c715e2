// Gates that a recording forces: what is executed is what was predicted.
#include <gtest/gtest.h>

#include "sim/program/group_loads.hpp"
#include "sim/simulate/step.hpp"
#include "tests/unit/exec/run/run_testing.hpp"

namespace moesim {
namespace {

// Two micro-batches of two ranks in three MoE layers, every row another one; an expert that nobody takes.
SelectionTrace uneven_recording() {
  SelectionTrace trace({0}, {1, 2, 3}, {0, 1}, {0, 1}, 8);
  for (int layer = 0; layer < 3; ++layer)
    for (int micro_batch = 0; micro_batch < 2; ++micro_batch)
      for (int rank = 0; rank < 2; ++rank) {
        const auto counts = trace.counts(0, layer, micro_batch, rank);
        for (std::uint32_t e = 0; e < 7; ++e)
          counts[e] = 1 + (e * 5 + static_cast<std::uint32_t>(layer * 3 + micro_batch * 2 + rank)) % 9;
      }
  return trace;
}

Result<Program> recorded_program(const Plan& plan, const ModelShape& model) {
  MOESIM_TRY(check_plan(plan, model, plan.sizes().world()));
  MOESIM_ASSIGN(Layout layout, Layout::make(plan.layout, plan.sizes().world()));
  MOESIM_ASSIGN(const LoadMapper recording, LoadMapper::create(uneven_recording(), -1));
  MOESIM_ASSIGN(const auto loads, loads_for(plan, model, &recording, kMostVariants));
  return lower(plan, model, std::make_shared<const Layout>(std::move(layout)), loads);
}

// The choices of the last of two steps, by rank.
std::vector<std::vector<GateChoice>> executed_choices(const Program& program) {
  RunSettings settings;
  settings.gating = Gating::kReplay;
  const auto rank_main = [&](Communicator& comm) -> Result<std::vector<GateChoice>> {
    const auto backend = make_cpu_backend();
    std::vector<GateChoice> choices;
    const auto keep = [&](std::int64_t, const StepResult&, RankRunner& runner) -> Status {
      choices = runner.context().choices;
      return {};
    };
    const TrainingJob job{program, settings, synthetic_sequences(program.model.vocab, 7), 2};
    MOESIM_TRY(train(job, *backend, comm, real_clock(), keep));
    return choices;
  };
  std::vector<std::vector<GateChoice>> by_rank;
  for (auto& rank : run_local_world<std::vector<GateChoice>>(local_world(program.layout->world()), rank_main)) {
    EXPECT_TRUE(rank.has_value()) << rank.error().what;
    by_rank.push_back(rank ? *rank : std::vector<GateChoice>{});
  }
  return by_rank;
}

const GateChoice* find_choice(const std::vector<GateChoice>& choices, LayerId layer, std::int32_t micro_batch) {
  for (const GateChoice& choice : choices)
    if (choice.layer == layer && choice.micro_batch == micro_batch) return &choice;
  return nullptr;
}

// By layer and micro-batch, the rows that the experts of each group compute: as executed, and as the simulator prices them.
TEST(Replay, ExpertsComputeTheRowsThatWerePredicted) {
  for (const ParallelSizes& sizes :
       {ParallelSizes{.dp = 2, .ep = 2}, ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2},
        ParallelSizes{.pp = 2, .dp = 4, .ep = 2, .edp = 2}}) {
    const Plan plan = tiny_plan(sizes);
    SCOPED_TRACE(plan_text(plan));
    const Result<Program> program = recorded_program(plan, tiny_moe());
    ASSERT_TRUE(program.has_value()) << program.error().what;
    const RoutedLoads& loads = *program->loads;
    EXPECT_FALSE(loads.balanced);
    const auto choices = executed_choices(*program);
    int compared = 0;
    for (int layer = 1; layer < 4; ++layer)  // layer 0 is dense
      for (int micro_batch = 0; micro_batch < plan.micro_batches(); ++micro_batch)
        for (const LoadClass& one : load_classes(*program->layout, loads)) {
          const GroupLoads predicted(loads, one.sources, sizes.ep, sizes.esp);
          for (const std::vector<int>& members : one.members)
            for (int stage = 0; stage < sizes.pp; ++stage) {
              const auto ranks = program->layout->stage_ranks(StageId(stage));
              std::vector<std::int64_t> rows(8, 0);
              int sources = 0;
              for (const int member : members) {
                const auto rank = ranks[static_cast<std::size_t>(member)].index();
                const GateChoice* choice = find_choice(choices[rank], LayerId(layer), micro_batch);
                if (choice == nullptr) continue;  // a layer of another stage
                ++sources;
                for (std::size_t e = 0; e < 8; ++e) rows[e] += choice->counts[e];
              }
              if (sources == 0) continue;
              ASSERT_EQ(sources, sizes.ep * sizes.esp);
              for (int i = 0; i < sizes.ep; ++i) {
                const auto expected = predicted.expert_rows(layer - 1, micro_batch % loads.variants, i);
                for (std::size_t e = 0; e < expected.size(); ++e, ++compared)
                  EXPECT_EQ(rows[static_cast<std::size_t>(i) * expected.size() + e], expected[e])
                      << "layer " << layer << " micro-batch " << micro_batch;
              }
            }
        }
    const int groups = sizes.world() / sizes.pp / (sizes.ep * sizes.esp);
    EXPECT_EQ(compared, 3 * plan.micro_batches() * groups * 8);
  }
}

// A learned gate chooses otherwise, so the test above can fail.
TEST(Replay, LearnedGatesChooseForThemselves) {
  const Plan plan = tiny_plan({.dp = 2, .ep = 2});
  const Result<Program> program = recorded_program(plan, tiny_moe());
  ASSERT_TRUE(program.has_value()) << program.error().what;
  const auto forced = executed_choices(*program);
  EXPECT_EQ(forced[0][0].counts[7], 0);
  const auto rank_main = [&](Communicator& comm) -> Result<std::int32_t> {
    const auto backend = make_cpu_backend();
    std::int32_t chosen = 0;
    const auto keep = [&](std::int64_t, const StepResult&, RankRunner& runner) -> Status {
      for (const GateChoice& choice : runner.context().choices) chosen += choice.counts[7];
      return {};
    };
    MOESIM_TRY(train({*program, {}, synthetic_sequences(200, 7), 1}, *backend, comm, real_clock(), keep));
    return chosen;
  };
  for (const auto& rank : run_local_world<std::int32_t>(local_world(2), rank_main)) {
    ASSERT_TRUE(rank.has_value()) << rank.error().what;
    EXPECT_GT(*rank, 0);
  }
}

}  // namespace
}  // namespace moesim
