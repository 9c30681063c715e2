// All laws of one cluster behind one door. Each law stands in a file of its own (gemm_law.hpp, attention_law.hpp,
// memory_law.hpp, launch_law.hpp, collective laws); this class only picks the device's parameters and calls it.
//
// Deterministic, thread-safe (const); apart from the topologies it remembers, allocation-free after construction (the
// rows of a grouped GEMM are read in place).
// Times are for a rank of speed 1 on an idle machine; the engine applies stragglers, overlap and contention.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/cluster/cluster_view.hpp"
#include "models/cost/collective.hpp"
#include "models/cost/cost.hpp"
#include "models/cost/exchange/algorithm.hpp"
#include "models/cost/work.hpp"
#include "models/provenance.hpp"

namespace moesim {

// Bytes from rank i of a group to rank j, row-major n x n; the diagonal is a local copy.
struct ByteMatrix {
  std::span<const std::int64_t> bytes;
  int ranks = 0;
  [[nodiscard]] std::int64_t at(int from, int to) const { return bytes[static_cast<std::size_t>(from) * ranks + to]; }
};

// What a matrix asks of the ports, worked out once for every size of its unit: dispatch and combine move the same rows
// with other bytes each.
struct ExchangeLoad {
  std::array<double, kMaxTiers> busiest_rank{};  // units it sends to ranks that it meets at each tier
  std::array<double, kMaxTiers>
      port_seconds{};  // of the busiest port of each tier at full rate, with units of one byte
  // Regime `flows`: until the last flow has ended, efficiencies applied, with units of one byte; 0: ports decide.
  double flow_seconds = 0;
};

// An exchange under one of its algorithms, as phases that follow one another (exchange/exchange_law.hpp).
struct ExchangePhase {
  ExchangeLoad load;
  std::array<int, kMaxTiers> steps{};  // messages that a rank starts, by the tier at which it meets the other
  int outermost = -1;                  // tier that is crossed; -1: nothing is sent
  double copied = 0;                   // units that the busiest rank puts together beforehand
  int stream = 0;                      // streams run side by side
};
struct ExchangeWork {
  static constexpr int kStreams = 2;
  ExchangeAlgorithm algorithm = ExchangeAlgorithm::kLinear;
  std::vector<ExchangePhase> phases = {};  // empty: a group of one
};

// Parameters of every law for one kind of device, with where they come from. Defined in law_parameters.hpp.
struct LawParameters;
struct LinkPaths;  // models/cluster/link_paths.hpp

// How exchanges of token copies press on the network: kPorts, the busiest port decides (all_to_all_v_law.hpp); kFlows, messages
// share every link on their way (flows/cluster_flows.hpp).
enum class ExchangeRegime : std::uint8_t { kPorts, kFlows };
[[nodiscard]] std::string_view regime_name(ExchangeRegime regime);  // "ops", "flows": of results

struct LawProvenance {
  std::string law;  // "gemm", "all_reduce", ...
  std::string device;
  Provenance provenance;
};

class CostModel {
 public:
  // Uncalibrated: the datasheet with efficiencies estimated by architecture; for tests and devices nobody measured.
  // Programs use calibration::make_cost_model (calibration/profile.hpp), which loads the shipped, fitted profiles.
  // `view` must outlive the model.
  explicit CostModel(const ClusterView& view);
  // One entry per element of view.devices().
  CostModel(const ClusterView& view, std::vector<LawParameters> per_device);
  ~CostModel();
  CostModel(CostModel&&) noexcept;
  CostModel& operator=(CostModel&&) noexcept;

  // Prices exchanges by flows over these links of the view's cluster from now on; before the model is shared among threads.
  void use_flows(std::shared_ptr<const LinkPaths> links);
  [[nodiscard]] ExchangeRegime regime() const;

  [[nodiscard]] const ClusterView& view() const;

  // How these ranks lie on the tiers. Groups that look alike (ClusterView::period) have one topology, so its ranks() may
  // be those of another such group. Good for the life of the model.
  [[nodiscard]] const GroupTopology& topology(std::span<const RankId> ranks) const;

  // `device` is an index into view().devices().
  [[nodiscard]] Cost gemm(int device, const GemmWork& work) const;
  [[nodiscard]] Cost grouped_gemm(int device, const GroupedGemmWork& work) const;
  [[nodiscard]] Cost attention(int device, const AttentionWork& work) const;
  [[nodiscard]] Cost memory_bound(int device, const MemoryWork& work) const;
  // What an operation of so many kernels takes when the host has to issue each of them.
  [[nodiscard]] Cost as_issued(int device, int kernels, Cost on_device) const;

  // `size` as in collective.hpp. kAuto takes the cheapest algorithm; `chosen`, when given, receives it. An algorithm
  // that the hardware or the operation does not have is priced as kAuto; `chosen` tells.
  [[nodiscard]] CommCost collective(CollectiveKind kind, const GroupTopology& group, Bytes size,
                                    CollectiveAlgorithm algorithm = CollectiveAlgorithm::kAuto,
                                    CollectiveAlgorithm* chosen = nullptr) const;
  // Completion for the whole group: the busiest port decides, not the mean (FasterMoE, PPoPP'22, section 4.1).
  [[nodiscard]] CommCost all_to_all_v(const GroupTopology& group, const ByteMatrix& matrix) const;
  // The same in two steps, for a matrix of units of so many bytes each.
  [[nodiscard]] ExchangeLoad exchange_load(const GroupTopology& group, const ByteMatrix& units) const;
  [[nodiscard]] CommCost all_to_all_v(const GroupTopology& group, const ExchangeLoad& load, Bytes unit) const;
  // The same under one of the algorithms of an exchange; kLinear is all_to_all_v.
  [[nodiscard]] ExchangeWork exchange_work(ExchangeAlgorithm algorithm, const GroupTopology& group,
                                           const ByteMatrix& units) const;
  [[nodiscard]] CommCost exchange(const GroupTopology& group, const ExchangeWork& work, Bytes unit) const;

  // While communication kernels run they hold some of the compute units: the factor (>= 1) by which a compute kernel
  // that runs beside them takes longer.
  [[nodiscard]] double compute_slowdown_beside_communication(int device) const;

  [[nodiscard]] std::vector<LawProvenance> provenance() const;
  [[nodiscard]] const LawParameters& parameters(int device) const;
  // Median relative error to expect of a step made of these laws; what "how wrong may it be" prints. The mean of the
  // laws' residuals, 0.15 for each law without data of its own.
  [[nodiscard]] double expected_relative_error() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace moesim
