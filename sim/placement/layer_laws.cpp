#include "sim/placement/layer_laws.hpp"

#include <algorithm>
#include <cmath>

namespace moesim {
namespace {

constexpr double kFirstRows = 64;
constexpr double kFirstPortSeconds = 1e-6;
constexpr double kLastPortSeconds = 100;
constexpr int kPointsPerDoubling = 2;

struct ExpertProducts {
  std::int64_t in = 0;
  std::int64_t out = 0;
};

// Forward, data gradient and weight gradient of one matrix of every local expert.
double seconds_of_products(const CostModel& costs, int device, const PrecisionRecipe& precision,
                           std::span<const std::int64_t> rows, const ExpertProducts& matrix) {
  GroupedGemmWork work;
  work.rows = rows;
  work.type = precision.compute;
  work.output = precision.activation;
  work.n = matrix.out;
  work.k = matrix.in;
  double seconds = costs.grouped_gemm(device, work).time.value();
  std::swap(work.n, work.k);
  seconds += costs.grouped_gemm(device, work).time.value();
  work.reduce_rows = true;
  work.output = precision.gradient;
  return seconds + costs.grouped_gemm(device, work).time.value();
}

TimeCurve compute_curve(const CostModel& costs, int device, const LayerLawRequest& request, int local_experts) {
  const std::int64_t up = request.moe.expert.width * (request.moe.expert.gated ? 2 : 1);
  TimeCurve curve{{0}, {0}};
  const double factor = std::exp2(1.0 / kPointsPerDoubling);
  const double last = std::max(2 * kFirstRows, static_cast<double>(request.largest_rows));
  for (double amount = kFirstRows; amount < last * factor; amount *= factor) {
    const auto total = static_cast<std::int64_t>(amount);
    std::vector<std::int64_t> rows(static_cast<std::size_t>(local_experts), total / local_experts);
    for (std::int64_t i = 0; i < total % local_experts; ++i) ++rows[static_cast<std::size_t>(i)];
    const double seconds =
        seconds_of_products(costs, device, request.precision, rows, {request.hidden, up}) +
        seconds_of_products(costs, device, request.precision, rows, {request.moe.expert.width, request.hidden});
    // A law may step down where a wave fills; more rows never take less time.
    curve.amounts.push_back(static_cast<double>(total));
    curve.seconds.push_back(std::max(seconds, curve.seconds.back()));
  }
  return curve;
}

TimeCurve exchange_curve(const CostModel& costs, const GroupTopology& group, int tier) {
  TimeCurve curve;
  const auto add = [&](double busy) {
    ExchangeLoad load;
    load.port_seconds[static_cast<std::size_t>(tier)] = busy;
    curve.amounts.push_back(busy);
    curve.seconds.push_back(costs.all_to_all_v(group, load, Bytes(1)).time.value());
  };
  add(0);
  const double factor = std::exp2(1.0 / kPointsPerDoubling);
  for (double busy = kFirstPortSeconds; busy < kLastPortSeconds; busy *= factor) add(busy);
  return curve;
}

ExchangeTier exchange_tier(const CostModel& costs, const GroupTopology& group, int tier) {
  ExchangeTier result;
  const auto ports = group.ports_at(tier);
  result.port_of_device.assign(ports.begin(), ports.end());
  for (const Port& port : group.port_rates(tier)) {
    result.out_s_per_byte.push_back(1 / port.out.value());
    result.in_s_per_byte.push_back(1 / port.in.value());
  }
  const Tier& spec = group.view().tier(tier);
  result.pair_s_per_byte = spec.mesh ? 1 / spec.pair_limit.value() : 0;
  result.first_port_tier = spec.first_port_tier;
  result.curve = exchange_curve(costs, group, tier);
  return result;
}

std::int64_t expert_parameters(const LayerLawRequest& request) {
  const FfnShape& expert = request.moe.expert;
  const std::int64_t matrices = expert.gated ? 3 : 2;
  const std::int64_t biases = expert.bias ? expert.width * (matrices - 1) + request.hidden : 0;
  return matrices * expert.width * request.hidden + biases;
}

ExpertBytes expert_bytes(const LayerLawRequest& request) {
  const std::int64_t parameters = expert_parameters(request);
  const PrecisionRecipe& precision = request.precision;
  // Weights in the master's format are their own master.
  const Bytes master = precision.weight == precision.master ? Bytes(0) : storage(parameters, precision.master);
  return {storage(parameters, precision.weight), storage(parameters, precision.gradient),
          master + 2 * storage(parameters, precision.moment)};
}

}  // namespace

// Biases, of which there are few, go with the matrices.
CutReplicas cut_replicas(const CostModel& costs, std::span<const RankId> ranks, int replicas,
                         const LayerLawRequest& request) {
  CutReplicas result;
  result.replicas = replicas;
  const std::int64_t down = request.moe.expert.width * request.hidden;
  result.matrices = {request.moe.expert.gated ? 2 * down : down, down};
  const GroupTopology group(costs.view(), ranks);
  for (int tier = 0; tier < group.tiers(); ++tier) {
    result.tiers.push_back(exchange_tier(costs, group, tier));
    const auto groups = group.groups_at(tier);
    result.groups.emplace_back(groups.begin(), groups.end());
  }
  return result;
}

Result<LayerTimeModel> layer_time_model(const CostModel& costs, std::span<const RankId> ranks,
                                        const LayerLawRequest& request) {
  const ClusterView& view = costs.view();
  const int device = view.device_index(ranks.front());
  for (const RankId rank : ranks)
    if (view.device_index(rank) != device)
      return invalid_input("the devices of the EP group are not all of one kind", "cluster",
                           "take an EP group inside one kind of node");
  const GroupTopology group(view, ranks);
  LayerTimeModel model;
  const auto n = static_cast<int>(ranks.size());
  const int local_experts = std::max(1, static_cast<int>((request.moe.experts + n - 1) / n));
  model.compute = compute_curve(costs, device, request, local_experts);
  for (const RankId rank : ranks) {
    model.speed.push_back(view.speed(rank));
    model.node_of_device.push_back(view.node(rank).value());
  }
  model.row = storage(request.hidden, request.precision.activation);
  if (n > 1)
    for (int tier = 0; tier < group.tiers(); ++tier) model.tiers.push_back(exchange_tier(costs, group, tier));
  for (const RankId a : ranks)
    for (const RankId b : ranks)
      model.meets_at.push_back(static_cast<std::int8_t>(a == b ? -1 : view.meeting_tier(a, b)));
  model.expert = expert_bytes(request);
  model.shadow = costs.collective(CollectiveKind::kBroadcast, group, model.expert.weights).time +
                 costs.collective(CollectiveKind::kBroadcast, group, model.expert.gradients).time;
  return model;
}

}  // namespace moesim
