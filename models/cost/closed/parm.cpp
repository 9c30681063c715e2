#include "models/cost/closed/parm.hpp"

#include <algorithm>

namespace moesim {
namespace {

// Nothing to do in a group of one.
Seconds in_group(int ranks, const LinearTime& time, double amount) { return ranks > 1 ? time.at(amount) : Seconds(0); }

struct ParmParts {
  Seconds exchange_ep, exchange_all, gather_mp, saa;
  Seconds experts, experts_sliced;  // forward
};

ParmParts parts_of(const ParmLayer& layer, const ParmCosts& costs, int ranks) {
  ParmParts parts;
  parts.exchange_ep = in_group(ranks / layer.esp, costs.all_to_all_ep, layer.esp * layer.dispatched.value());
  parts.exchange_all = in_group(ranks, costs.all_to_all_all, layer.exchanged());
  parts.gather_mp = in_group(layer.mp, costs.gather_mp, layer.input.value());
  parts.saa = saa_bound(layer, costs, ranks);
  parts.experts = costs.experts.at(layer.multiply_adds);
  parts.experts_sliced = costs.experts.at(layer.multiply_adds / layer.mp);
  return parts;
}

}  // namespace

Seconds saa_time(const SaaSteps& steps) {
  Seconds exchanged = steps.self;  // a_0
  Seconds gathered;                // g_0
  for (int i = 1; i < steps.ranks; ++i) {
    gathered = std::max(gathered, exchanged) + steps.gather;
    exchanged += steps.pair;
  }
  return std::max(exchanged + steps.gather, gathered);
}

Seconds saa_bound(const ParmLayer& layer, const ParmCosts& costs, int ranks) {
  const Seconds exchange = in_group(ranks, costs.all_to_all_all, layer.exchanged());
  if (layer.mp == 1) return exchange;
  const Seconds gather = costs.gather_mp.at(layer.dispatched.value());
  return std::max(exchange, gather) + gather / ranks;
}

ParmTimes parm_forward(const ParmLayer& layer, const ParmCosts& costs, int ranks) {
  const ParmParts parts = parts_of(layer, costs, ranks);
  ParmTimes times;
  times.base = in_group(layer.esp, costs.gather_esp, layer.esp * layer.input.value()) + 2 * parts.exchange_ep +
               in_group(layer.esp, costs.all_reduce_esp, layer.esp * layer.dispatched.value()) + parts.experts;
  times.s1 = 2 * parts.exchange_all + parts.gather_mp + parts.experts_sliced;
  times.s2 = parts.exchange_all + parts.saa + parts.experts_sliced;
  return times;
}

ParmTimes parm_forward_and_backward(const ParmLayer& layer, const ParmCosts& costs, int ranks, ShardSum sum) {
  const ParmParts parts = parts_of(layer, costs, ranks);
  ParmTimes times = parm_forward(layer, costs, ranks);
  const double gathered = layer.esp * layer.input.value();
  const Seconds summed = sum == ShardSum::kReduceScatter
                             ? in_group(layer.esp, costs.reduce_scatter_esp, gathered)
                             : in_group(layer.esp, costs.all_reduce_esp, layer.esp * layer.dispatched.value());
  times.base += in_group(layer.esp, costs.gather_esp, gathered) + 2 * parts.exchange_ep + summed + 2 * parts.experts;
  times.s1 += 2 * parts.exchange_all + parts.gather_mp + 2 * parts.experts_sliced;
  times.s2 += parts.exchange_all + parts.saa + 2 * parts.experts_sliced;
  return times;
}

ParmChoice choose_schedule(const ParmTimes& times) { return times.s2 < times.s1 ? ParmChoice::kS2 : ParmChoice::kS1; }

ParmChoice choose_by_bandwidth(double rho, int mp, int esp, double copies_per_token) {
  if (mp == 1) return ParmChoice::kS1;
  const double shards = static_cast<double>(esp) / mp;
  if (rho <= shards) return ParmChoice::kS2;
  return copies_per_token > rho / (rho - shards) ? ParmChoice::kS1 : ParmChoice::kS2;
}

}  // namespace moesim
