// How long a MoE layer takes when it is known who sends to whom: the price of a placement.
//
//   T = fixed + compute(max over devices of work(d)) + exchanges * exchange + shadowed * shadow
//   work(d)  = (rows(d) + rows_per_busy_expert * experts of d that get any row) / speed(d)
//   exchange = sum over rounds of curve(busiest port's seconds), the larger of its two directions
// forward and backward together, for one micro-batch. `exchanges` is 4: dispatch and combine, forward and backward; a combine is
// the dispatch turned round, and a port counts the larger direction, so all four take the same time. Rounds: one fused exchange, or
// one after the other for the first, second, ... slot of every device, as FastMoE's global scatter and gather do it (a grouped
// send and receive per local expert). Ports are those of ClusterView: a copy occupies one on either side at every tier from
// the meeting tier's first_port_tier on.
// Worked, 2 devices, copies {{5, 3}, {4, 6}} of 1 byte, ports of 1 s/B, curve x, compute 1 s a row: rows {9, 9}; busiest port 4 s;
// T = 9 + 4 * 4 = 25 s.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/units.hpp"
#include "sim/placement/decision.hpp"
#include "sim/placement/time_curve.hpp"
#include "sim/placement/token_routing.hpp"

namespace moesim {

enum class ExchangeRounds : std::uint8_t { kFused, kPerSlot };

// The ports of one tier of the network, as the devices of the group use them.
struct ExchangeTier {
  std::vector<std::int32_t> port_of_device;
  std::vector<double> out_s_per_byte;  // [port], at full rate
  std::vector<double> in_s_per_byte;
  double pair_s_per_byte = 0;  // on a mesh, of the link between two devices
  int first_port_tier = 0;
  TimeCurve curve;  // from the busiest port's seconds to those of an exchange that this tier decides
};

// Bytes of one expert.
struct ExpertBytes {
  Bytes weights;    // as they are computed with
  Bytes gradients;  // as they are summed over copies
  Bytes optimizer;  // master weights and moments
};

// Ranks that hold the same experts as the devices of the EP group, where ZeRO has each keep a part (sim/plan/expert_parts.hpp): what
// moves then goes between all of them. Rank r of the `replicas * devices` is device r % devices of replica r / devices.
struct CutReplicas {
  int replicas = 1;
  std::vector<std::int64_t> matrices;             // numbers of each matrix of an expert; each is cut by itself
  std::vector<ExchangeTier> tiers;                // of all these ranks
  std::vector<std::vector<std::int32_t>> groups;  // [tier][rank]: ranks of one group meet there
  [[nodiscard]] int meeting_tier(int a, int b) const;
};

struct LayerTimeModel {
  Seconds fixed;      // gate, permutation, launches
  TimeCurve compute;  // from rows to seconds of a device of speed 1
  double rows_per_busy_expert = 0;
  std::vector<double> speed;  // [device]
  std::vector<std::int32_t> node_of_device;
  int exchanges = 4;
  Bytes row;  // that one token copy sends in one exchange
  ExchangeRounds rounds = ExchangeRounds::kFused;
  std::vector<ExchangeTier> tiers;    // innermost first; empty for a single device
  std::vector<std::int8_t> meets_at;  // [device][device], tier; -1 with itself
  ExpertBytes expert;
  Seconds shadow;  // of one shadowed expert: weights broadcast, gradients reduced
  std::optional<CutReplicas> cut = {};

  [[nodiscard]] int devices() const { return static_cast<int>(speed.size()); }
  [[nodiscard]] int meeting_tier(int a, int b) const {
    return meets_at[static_cast<std::size_t>(a) * speed.size() + static_cast<std::size_t>(b)];
  }
};

struct LayerTime {
  Seconds compute;
  Seconds exchange;          // all of them
  Seconds rest;              // fixed and shadows
  double max_over_mean = 1;  // of rows
  [[nodiscard]] Seconds total() const { return compute + exchange + rest; }
};

// What is sent in one exchange, added up by port.
class PortLoads {
 public:
  explicit PortLoads(const LayerTimeModel& model);
  // Of what moves between cut replicas; add() takes their ranks.
  explicit PortLoads(const CutReplicas& replicas);
  void clear();
  void add(int from, int to, double bytes);
  // Copies into one device from every source.
  void add_into(int to, std::span<const double> from, double bytes_each);
  // Of an exchange of what was added; 0 for nothing.
  [[nodiscard]] double seconds();

 private:
  void add_at(int tier, int from, int to, double bytes);

  const LayerTimeModel* model_ = nullptr;
  const CutReplicas* replicas_ = nullptr;  // in its place
  std::span<const ExchangeTier> tiers_;
  std::size_t devices_;
  std::vector<double> out_;  // [meeting tier][device], bytes
  std::vector<double> in_;
  std::vector<double> busiest_pair_;  // [tier], of one add
  std::vector<double> port_out_;
  std::vector<double> port_in_;
};

// Prices placements; keeps scratch, so one per thread.
class LayerTimer {
 public:
  // `model` must outlive the timer.
  explicit LayerTimer(const LayerTimeModel& model);
  [[nodiscard]] LayerTime time(const RecordedCounts& counts, const PlacementDecision& decision) {
    return time_of(router_.route(counts, decision));
  }
  [[nodiscard]] LayerTime time(const PredictedCounts& counts, const PlacementDecision& decision) {
    return time_of(router_.route(counts, decision));
  }
  [[nodiscard]] TokenRouter& router() { return router_; }

 private:
  [[nodiscard]] LayerTime time_of(const RoutedCopies& copies);
  [[nodiscard]] double exchange_seconds(const RoutedCopies& copies);

  const LayerTimeModel* model_;
  TokenRouter router_;
  PortLoads ports_;
  std::vector<double> arriving_;  // [source]
};

}  // namespace moesim
