// The options that say which plans are searched, the same in every command that ranks.
#pragma once

#include <CLI/CLI.hpp>
#include <array>
#include <cstdint>
#include <string>

#include "sim/cli/scenario.hpp"
#include "sim/search/space.hpp"
#include "sim/sweep/field.hpp"

namespace moesim {

// Dimensions of the space that can be narrowed, in the grammar that sweeps have (docs/sweep.md).
inline constexpr std::array kSpaceFilters = {
    SweepField::kTp,         SweepField::kCp,          SweepField::kPp,         SweepField::kVpp,
    SweepField::kEp,         SweepField::kEsp,         SweepField::kMicroBatch, SweepField::kPipeline,
    SweepField::kRecompute,  SweepField::kMoeSchedule, SweepField::kMoeDegree,  SweepField::kMoeBackwardDegree,
    SweepField::kMoeShadows, SweepField::kAllToAll};

// --moe-dispatch-format, --moe-combine-format and --comm-sm-share, as a plan has them.
struct WireOptions {
  std::string dispatch = "none";
  std::string combine = "none";
  double comm_sm_share = 0;
  bool operator==(const WireOptions&) const = default;
};
// `group`: of the help; empty: the command's own.
void add_wire_options(CLI::App& command, Session& session, WireOptions& options, const std::string& group);
// What a search or a plan is told of them.
struct WireChoice {
  WireFormat dispatch = WireFormat::kAsComputed;
  WireFormat combine = WireFormat::kAsComputed;
};
[[nodiscard]] Result<WireChoice> wire_choice(const WireOptions& options);

struct SpaceOptions {
  std::int64_t seq_length = 4096;
  int global_batch = 0;
  std::string precision = "bf16";
  double capacity_factor = 0;
  WireOptions wire;
  // As written; empty: as default_space() has them.
  std::array<std::string, kSpaceFilters.size()> filters;
  std::string zero;  // of dense and expert parameters alike
};

// --seq and --global-batch.
enum class BatchOption : std::uint8_t { kRequired, kOptional };
void add_batch_options(CLI::App& command, SpaceOptions& options, BatchOption batch);
// --precision, --capacity-factor, and those on the wire.
void add_format_options(CLI::App& command, Session& session, SpaceOptions& options);
// --tp, --ep, ..., --zero.
void add_space_filters(CLI::App& command, Session& session, SpaceOptions& options);

[[nodiscard]] Result<SearchSpace> space_for(const SpaceOptions& options, const Scenario& scenario);

}  // namespace moesim
