// What an all-to-all with its own number of bytes per pair costs under each algorithm, as phases of messages.
//
// A law turns a matrix of units (rows, say) into phases. Phases of one stream follow one another, streams run side by side:
//
//   T = base + max( longest stream, busiest port over all phases )
//   stream = sum over its phases of  copy + steps + flight + pipelined(busiest port of the phase)
//
// `copy` passes what the busiest rank puts together once through its memory (read and written), `steps` is the software's step for
// each message that a rank starts, `flight` the latency of the outermost tier that the phase crosses, and the busiest port is
// that of all_to_all_v_law.hpp: bytes over rate and efficiency, per tier and direction, ports shared as everywhere. Everything
// but the constants is proportional to the unit, so one work serves dispatch and combine, forward and backward.
// Example, 2 nodes of 2, 1 GB from each rank to each other, 100 GB/s inside and 10 GB/s across, no latency, linear: 2 GB cross
// each NIC in 0.2 s; 2dh: 2 GB inside in 20 ms, then 2 GB across in 0.2 s, and the copies.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "models/cost/collective_terms.hpp"
#include "models/cost/cost_model.hpp"
#include "models/cost/exchange/algorithm.hpp"
#include "models/cost/exchange/node_places.hpp"

namespace moesim {

// `units` from member `from` to member `to` of a group.
struct ExchangeMessage {
  std::int32_t from = 0;
  std::int32_t to = 0;
  std::int64_t units = 0;
};

// How the messages of a phase press on ports: by the busiest port (PortLoads), or by flows over links (flows/exchange_flows.hpp).
class PhaseLoads {
 public:
  PhaseLoads() = default;
  PhaseLoads(const PhaseLoads&) = delete;
  PhaseLoads& operator=(const PhaseLoads&) = delete;
  virtual ~PhaseLoads() = default;
  [[nodiscard]] virtual ExchangeLoad of(const GroupTopology& group, const ByteMatrix& units) const = 0;
  // A phase of few messages: a round.
  [[nodiscard]] virtual ExchangeLoad of(const GroupTopology& group,
                                        std::span<const ExchangeMessage> messages) const = 0;
};

class PortLoads final : public PhaseLoads {
 public:
  [[nodiscard]] ExchangeLoad of(const GroupTopology& group, const ByteMatrix& units) const override;
  [[nodiscard]] ExchangeLoad of(const GroupTopology& group, std::span<const ExchangeMessage> messages) const override;
};

class ExchangeLaw {
 public:
  ExchangeLaw() = default;
  ExchangeLaw(const ExchangeLaw&) = delete;
  ExchangeLaw& operator=(const ExchangeLaw&) = delete;
  virtual ~ExchangeLaw() = default;
  // At least one phase; `units` has a row per member of the group, which has at least two.
  [[nodiscard]] virtual ExchangeWork work(const GroupTopology& group, const ByteMatrix& units,
                                          const PhaseLoads& loads) const = 0;
};

[[nodiscard]] const ExchangeLaw& exchange_law(ExchangeAlgorithm algorithm);
[[nodiscard]] CommCost exchange_cost(const GroupTopology& group, const LawParameters& parameters,
                                     const ExchangeWork& work, Bytes unit);
// The buffer of the even exchange by the same algorithm whose bytes keep ports busy as long, phase after phase. Example, pipe over
// 3 hosts of one rank at 1 GB/s, 0 -> 1: 2 GB, nothing else: one of two rounds lasts 2 s, as both of an even one with 1 GB to each
// do: 3 GB with the own block.
[[nodiscard]] Bytes even_exchange_as_long(const GroupTopology& group, const LawParameters& parameters,
                                          const ExchangeWork& work, Bytes unit);

// What the laws share.
[[nodiscard]] NodePlaces node_places_of(const GroupTopology& group);
// The tier at which two members meet; -1 for one with itself.
[[nodiscard]] int meeting_tier(const GroupTopology& group, int a, int b);
// A phase in which every member sends what `units` has for the others, all at once, with one step for each member that it has
// anything to do with by the structure of the algorithm: `partners[i]` lists those of member i.
[[nodiscard]] ExchangePhase phase_of(const GroupTopology& group, const ByteMatrix& units, const PhaseLoads& loads,
                                     const std::vector<std::vector<std::int32_t>>& partners);
// A phase in which nobody sends to more than one other: one step.
[[nodiscard]] ExchangePhase round_of(const GroupTopology& group, std::span<const ExchangeMessage> messages,
                                     const PhaseLoads& loads);

}  // namespace moesim
