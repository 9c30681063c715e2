#include "models/cost/cost_model.hpp"

#include <array>
#include <optional>
#include <set>
#include <utility>

#include "base/error.hpp"
#include "models/cost/all_to_all_v_law.hpp"
#include "models/cost/attention_law.hpp"
#include "models/cost/attention_surface.hpp"
#include "models/cost/exchange/exchange_law.hpp"
#include "models/cost/flows/flow_loads.hpp"
#include "models/cost/gemm_law.hpp"
#include "models/cost/gemm_surface.hpp"
#include "models/cost/grouped_gemm_law.hpp"
#include "models/cost/hierarchical_law.hpp"
#include "models/cost/launch_law.hpp"
#include "models/cost/law_parameters.hpp"
#include "models/cost/measured_collectives.hpp"
#include "models/cost/memory_law.hpp"
#include "models/cost/network_law.hpp"
#include "models/cost/pairwise_law.hpp"
#include "models/cost/ring_law.hpp"
#include "models/cost/switch_law.hpp"
#include "models/cost/topology_cache.hpp"
#include "models/cost/tree_law.hpp"

namespace moesim {
namespace {

constexpr std::size_t kFormats = 9;
constexpr double kUnknownResidual = 0.15;  // typical of estimates carried over between GPUs, docs/laws.md

// Everything about one kind of device that does not depend on the operation.
struct DeviceLaws {
  LawParameters parameters;
  std::array<GemmMachine, kFormats> gemm;
  std::array<GemmSurface, kFormats> gemm_surface;
  bool groups_one_by_one = false;  // a processor runs grouped products as one after the other
  std::array<AttentionMachine, kFormats> attention;
  std::array<AttentionSurface, kFormats> attention_surface;
  MemoryMachine memory;
};

GemmWork whole_gemm(double m, double n, double k, DType type) {
  const auto whole = [](double value) { return static_cast<std::int64_t>(value); };
  return {.m = whole(m), .n = whole(n), .k = whole(k), .type = type, .output = type};
}

DeviceLaws prepare(const DeviceSpec& device, LawParameters parameters) {
  DeviceLaws laws;
  for (std::size_t i = 0; i < kFormats; ++i) {
    const auto type = static_cast<DType>(i);
    const GemmMachine& machine = laws.gemm[i] = gemm_machine(device, parameters.gemm, type);
    laws.gemm_surface[i] = GemmSurface(parameters.measured.gemm, type, [&](double m, double n, double k) {
      return gemm_cost(machine, whole_gemm(m, n, k, type)).time.value();
    });
    const AttentionMachine& attention = laws.attention[i] = attention_machine(device, parameters.attention, type);
    laws.attention_surface[i] = AttentionSurface(parameters.measured.attention, type, [&](const AttentionWork& work) {
      return attention_cost(attention, work).time.value();
    });
  }
  laws.memory = memory_machine(device, parameters.memory);
  laws.groups_one_by_one = device.arch == DeviceArch::kCpu;
  laws.parameters = std::move(parameters);
  return laws;
}

CommCost cheapest_collective(CollectiveKind kind, const GroupTopology& group, const LawParameters& parameters,
                             Bytes size, CollectiveAlgorithm& chosen) {
  if (kind == CollectiveKind::kAllToAll || kind == CollectiveKind::kSendRecv) {
    chosen = CollectiveAlgorithm::kPairwise;
    return kind == CollectiveKind::kAllToAll ? pairwise_cost(group, parameters, size)
                                             : send_recv_cost(group, parameters, size);
  }
  chosen = CollectiveAlgorithm::kRing;
  CommCost best = ring_cost(kind, group, parameters, size);
  const auto consider = [&](CollectiveAlgorithm algorithm, const CommCost& cost) {
    if (cost.time < best.time) best = cost, chosen = algorithm;
  };
  if (tree_applies(kind, group)) consider(CollectiveAlgorithm::kTree, tree_cost(kind, group, parameters, size));
  if (switch_applies(kind, group)) consider(CollectiveAlgorithm::kSwitch, switch_cost(group, parameters, size));
  return best;
}

CommCost collective_cost(CollectiveKind kind, const GroupTopology& group, const LawParameters& parameters, Bytes size,
                         CollectiveAlgorithm& algorithm) {
  const bool ring_shaped = kind != CollectiveKind::kAllToAll && kind != CollectiveKind::kSendRecv;
  switch (algorithm) {
    case CollectiveAlgorithm::kRing:
      if (ring_shaped) return ring_cost(kind, group, parameters, size);
      break;
    case CollectiveAlgorithm::kTree:
      if (tree_applies(kind, group)) return tree_cost(kind, group, parameters, size);
      break;
    case CollectiveAlgorithm::kSwitch:
      if (switch_applies(kind, group)) return switch_cost(group, parameters, size);
      break;
    case CollectiveAlgorithm::kHierarchical:
      if (hierarchical_applies(kind, group)) return hierarchical_cost(kind, group, parameters, size);
      break;
    case CollectiveAlgorithm::kNetwork:
      if (network_applies(kind, group)) return network_cost(group, parameters, size);
      break;
    case CollectiveAlgorithm::kPairwise:
    case CollectiveAlgorithm::kAuto: break;
  }
  return cheapest_collective(kind, group, parameters, size, algorithm);
}

std::vector<LawParameters> all_defaults(const ClusterView& view) {
  std::vector<LawParameters> parameters;
  for (const DeviceSpec& device : view.devices()) parameters.push_back(default_law_parameters(device));
  return parameters;
}

}  // namespace

struct CostModel::State {
  const ClusterView* view = nullptr;
  std::vector<DeviceLaws> devices;
  std::optional<TopologyCache> topologies;
  std::shared_ptr<const LinkPaths> links;  // null: ports decide
  [[nodiscard]] const DeviceLaws& device(int index) const { return devices[static_cast<std::size_t>(index)]; }
  // The laws of a group's collectives are those of its first rank's device.
  [[nodiscard]] const LawParameters& of(const GroupTopology& group) const {
    return device(view->device_index(group.ranks().front())).parameters;
  }
};

CostModel::CostModel(const ClusterView& view) : CostModel(view, all_defaults(view)) {}

CostModel::CostModel(const ClusterView& view, std::vector<LawParameters> per_device)
    : state_(std::make_unique<State>()) {
  MOESIM_ASSERT(per_device.size() == view.devices().size());
  state_->view = &view;
  state_->topologies.emplace(view);
  for (std::size_t i = 0; i < per_device.size(); ++i)
    state_->devices.push_back(prepare(view.devices()[i], std::move(per_device[i])));
}

CostModel::~CostModel() = default;
CostModel::CostModel(CostModel&&) noexcept = default;
CostModel& CostModel::operator=(CostModel&&) noexcept = default;

void CostModel::use_flows(std::shared_ptr<const LinkPaths> links) { state_->links = std::move(links); }
ExchangeRegime CostModel::regime() const {
  return state_->links != nullptr ? ExchangeRegime::kFlows : ExchangeRegime::kPorts;
}

std::string_view regime_name(ExchangeRegime regime) { return regime == ExchangeRegime::kFlows ? "flows" : "ops"; }

const ClusterView& CostModel::view() const { return *state_->view; }
const GroupTopology& CostModel::topology(std::span<const RankId> ranks) const { return state_->topologies->of(ranks); }
const LawParameters& CostModel::parameters(int device) const { return state_->device(device).parameters; }

Cost CostModel::gemm(int device, const GemmWork& work) const {
  const DeviceLaws& laws = state_->device(device);
  const auto format = static_cast<std::size_t>(work.type);
  Cost cost = gemm_cost(laws.gemm[format], work);
  const GemmSurface& surface = laws.gemm_surface[format];
  if (surface.empty() || work.m <= 0 || work.n <= 0 || work.k <= 0 || work.batch <= 0) return cost;
  // Measured is the format itself, whatever the device makes of it.
  const auto correction =
      surface.at(static_cast<double>(work.m), static_cast<double>(work.n), static_cast<double>(work.k));
  cost.time = cost.time * correction.factor;
  cost.extrapolated = !correction.inside;
  return cost;
}

Cost CostModel::grouped_gemm(int device, const GroupedGemmWork& work) const {
  const DeviceLaws& laws = state_->device(device);
  if (!laws.groups_one_by_one) return grouped_gemm_cost(laws.gemm[static_cast<std::size_t>(work.type)], work);
  Cost total;
  for (const std::int64_t rows : work.rows) {
    if (rows <= 0) continue;
    GemmWork group{.m = rows, .n = work.n, .k = work.k, .type = work.type, .output = work.output};
    if (work.reduce_rows) group.m = work.n, group.n = work.k, group.k = rows;
    const Cost one = gemm(device, group);
    total = {total.time + one.time, one.bound, total.extrapolated || one.extrapolated};
  }
  return total;
}

Cost CostModel::attention(int device, const AttentionWork& work) const {
  const DeviceLaws& laws = state_->device(device);
  const auto format = static_cast<std::size_t>(work.type);
  Cost cost = attention_cost(laws.attention[format], work);
  const AttentionSurface& surface = laws.attention_surface[format];
  if (!surface.covers(work) || cost.time <= Seconds(0)) return cost;
  const SurfaceCorrection correction = surface.at(work);
  cost.time = cost.time * correction.factor;
  cost.extrapolated = !correction.inside;
  return cost;
}

Cost CostModel::memory_bound(int device, const MemoryWork& work) const {
  const DeviceLaws& laws = state_->device(device);
  for (const MemorySeries& series : laws.parameters.measured.memory)
    if (series.kernel == work.kernel && series.type == work.type) return measured_memory_cost(series, work);
  return memory_cost(laws.memory, work);
}

Cost CostModel::as_issued(int device, int kernels, Cost on_device) const {
  return moesim::as_issued(state_->device(device).parameters.launch, kernels, on_device);
}

CommCost CostModel::collective(CollectiveKind kind, const GroupTopology& group, Bytes size,
                               CollectiveAlgorithm algorithm, CollectiveAlgorithm* chosen) const {
  CommCost cost;  // nothing to exchange with oneself
  if (group.size() > 1) {
    const LawParameters& parameters = state_->of(group);
    const CollectiveSeries* series = find_series(parameters.measured, kind, group.shape(), algorithm);
    if (series != nullptr) algorithm = series->algorithm;
    cost = collective_cost(kind, group, parameters, size, algorithm);
    if (series != nullptr) take_measured_time(cost, *series, size.value());
  }
  if (chosen != nullptr) *chosen = algorithm;
  return cost;
}

CommCost CostModel::all_to_all_v(const GroupTopology& group, const ByteMatrix& matrix) const {
  return all_to_all_v(group, exchange_load(group, matrix), Bytes(1));
}

ExchangeLoad CostModel::exchange_load(const GroupTopology& group, const ByteMatrix& units) const {
  return group.size() <= 1 ? ExchangeLoad{} : moesim::exchange_load(group, units);
}

CommCost CostModel::all_to_all_v(const GroupTopology& group, const ExchangeLoad& load, Bytes unit) const {
  if (group.size() <= 1) return {};
  const LawParameters& parameters = state_->of(group);
  CommCost cost = all_to_all_v_cost(group, parameters, load, unit);
  const CollectiveSeries* series = find_exchange_series(parameters.measured, group.shape(), ExchangeAlgorithm::kLinear);
  if (series == nullptr) return cost;
  take_measured_time(cost, *series, even_exchange_as_long(group, parameters, load, unit).value());
  return cost;
}

ExchangeWork CostModel::exchange_work(ExchangeAlgorithm algorithm, const GroupTopology& group,
                                      const ByteMatrix& units) const {
  if (group.size() <= 1) return {.algorithm = algorithm};
  const ExchangeLaw& law = exchange_law(algorithm);
  if (state_->links == nullptr) return law.work(group, units, PortLoads());
  return law.work(group, units, FlowLoads(*state_->links, state_->of(group)));
}

CommCost CostModel::exchange(const GroupTopology& group, const ExchangeWork& work, Bytes unit) const {
  if (group.size() <= 1 || work.phases.empty()) return {};
  if (work.algorithm == ExchangeAlgorithm::kLinear) return all_to_all_v(group, work.phases.front().load, unit);
  const LawParameters& parameters = state_->of(group);
  CommCost cost = exchange_cost(group, parameters, work, unit);
  if (const CollectiveSeries* series = find_exchange_series(parameters.measured, group.shape(), work.algorithm))
    take_measured_time(cost, *series, even_exchange_as_long(group, parameters, work, unit).value());
  return cost;
}

double CostModel::compute_slowdown_beside_communication(int device) const {
  return slowdown_beside_communication(state_->device(device).parameters.overlap);
}

std::vector<LawProvenance> CostModel::provenance() const {
  std::set<LinkClass> used;
  for (const Tier& tier : state_->view->tiers())
    used.insert(tier.link == LinkClass::kSwitch ? LinkClass::kNic : tier.link);
  std::vector<LawProvenance> all;
  for (const DeviceLaws& laws : state_->devices) {
    const LawParameters& p = laws.parameters;
    all.push_back({"gemm", p.device, p.gemm_provenance});
    all.push_back({"attention", p.device, p.attention_provenance});
    all.push_back({"memory", p.device, p.memory_provenance});
    all.push_back({"launch", p.device, p.launch_provenance});
    all.push_back({"overlap", p.device, p.overlap_provenance});
    all.push_back({"collective start", p.device, p.collective_provenance});
    if (!p.measured.collectives.empty())
      all.push_back({"collectives by size", p.device, p.measured_collectives_provenance});
    for (const LinkClass link : used)
      all.push_back({std::string("collectives over ") + link_class_name(link), p.device,
                     p.link_provenance[static_cast<std::size_t>(link)]});
  }
  return all;
}

double CostModel::expected_relative_error() const {
  double sum = 0;
  int laws = 0;
  for (const LawProvenance& entry : provenance()) {
    if (entry.law == "launch" || entry.law == "overlap" || entry.law == "collective start") continue;
    sum += entry.provenance.residual >= 0 ? entry.provenance.residual : kUnknownResidual;
    ++laws;
  }
  return laws > 0 ? sum / laws : kUnknownResidual;
}

}  // namespace moesim
