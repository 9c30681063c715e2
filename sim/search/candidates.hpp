// From skeletons to bounded plans: every recomputation, schedule and ZeRO stage of a cell, with its memory and time bounds.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "sim/pipeline/activation_front.hpp"
#include "sim/search/bound.hpp"
#include "sim/search/cells.hpp"
#include "sim/search/layer_table.hpp"
#include "sim/search/search.hpp"

namespace moesim {

// A plan of the space by the indices of its values, with the best bound known so far.
struct Candidate {
  double bound = 0;
  std::int32_t cell = 0;
  std::int16_t schedule = 0;  // index into CandidateMaker::schedules()
  std::int8_t recompute = 0;
  std::int8_t zero_dense = 0;
  std::int8_t zero_expert = 0;
  bool played = false;  // the bound is the tighter one
  bool taken = false;   // replayed, or about to be
};

// A pipeline schedule with its number of chunks.
struct ScheduleChoice {
  const PipelineSchedule* schedule = nullptr;
  int vpp = 1;
};

class CandidateMaker {
 public:
  CandidateMaker(const ModelShape& model, const CostModel& costs, const LoadMapper* trace, const SearchSpace& space,
                 std::vector<ScheduleChoice> schedules)
      : model_(model), costs_(costs), trace_(trace), space_(space), schedules_(std::move(schedules)) {}

  [[nodiscard]] const std::vector<ScheduleChoice>& schedules() const { return schedules_; }
  [[nodiscard]] Plan plan_of(const Cell& cell, const Candidate& candidate) const;

  // Tables are shared by all cells that cut layers alike; those of one group also share what the gate decides.
  struct Need {
    std::vector<Plan> tables;                       // in order of first need
    std::vector<std::int32_t> of_cell;              // by cell, into tables
    std::vector<std::vector<std::int32_t>> groups;  // into tables
  };
  [[nodiscard]] Need table_needs(const std::vector<Cell>& cells) const;
  // The tables of one group (any thread), each into its place of `tables`.
  [[nodiscard]] Status make_tables(const Need& need, std::size_t group, std::vector<std::optional<LayerTable>>& tables);

  // The pipelines that the cells need, each to be compiled once (any thread), largest first. bound_cell() would do it
  // itself, but neighbouring cells share them and threads would wait for each other.
  struct ShapeNeed {
    Plan plan;
    ScheduleChoice choice;
  };
  [[nodiscard]] std::vector<ShapeNeed> shape_needs(const std::vector<Cell>& cells) const;
  void compile_shape(const ShapeNeed& need) { (void)shape_of(need.plan, need.choice); }

  // Everything of one cell. Counts what cannot exist or fit; `smallest_peak` is the least memory bound seen.
  struct CellResult {
    std::vector<Candidate> candidates;
    std::int64_t impossible_shape = 0;
    std::int64_t too_few_layers = 0;
    std::int64_t too_large = 0;
    std::int64_t equivalent = 0;
    Bytes smallest_peak{std::int64_t{1} << 62};
  };
  [[nodiscard]] CellResult bound_cell(const Cell& cell, std::int32_t index, const LayerTable& table);
  // The tighter bound of one candidate.
  [[nodiscard]] double play(const Cell& cell, const Candidate& candidate, const LayerTable& table, SlotPlayer& player);

 private:
  struct CellContext;
  struct Shape {
    std::shared_ptr<const CompiledPipeline> pipeline;  // null: the schedule does not exist for it
    std::shared_ptr<const ActivationFront> activations;
    std::vector<int> layers_per_chunk;
    ChunkPairs pairs;  // forward passes that run beside backward passes
  };
  struct ShapeEntry {
    std::once_flag made;
    Shape shape;
  };
  [[nodiscard]] Result<std::shared_ptr<const RoutedLoads>> loads_of(const Plan& plan);
  [[nodiscard]] const Shape& shape_of(const Plan& plan, const ScheduleChoice& choice);
  [[nodiscard]] CellContext context_of(const Cell& cell);
  [[nodiscard]] CutModel cut(const CellContext& context, const ScheduleChoice& choice, const Shape& compiled,
                             Recompute recompute, const LayerTable& table, PairDetail detail, SpanPlayer& player) const;
  [[nodiscard]] double transfer_time(const Cell& cell);
  [[nodiscard]] const GroupTopology& strided_group(int stride, int count) const;

  const ModelShape& model_;
  const CostModel& costs_;
  const LoadMapper* trace_;
  const SearchSpace& space_;
  std::vector<ScheduleChoice> schedules_;
  std::mutex mutex_;
  std::map<std::tuple<const PipelineSchedule*, int, int, int>, ShapeEntry> shapes_;
  std::map<std::pair<std::int64_t, int>, std::shared_ptr<const RoutedLoads>>
      loads_;  // by tokens per source and sources
};

}  // namespace moesim
