#include "models/cost/attention_law.hpp"

#include <algorithm>
#include <cmath>

namespace moesim {
namespace {

constexpr double kBlock = 128;       // queries (keys, backward) of one head that a compute unit takes at a time
constexpr double kLinearChunk = 64;  // tokens that linear attention treats as one matrix
constexpr double kBackwardFlops = 2.5;

double keys_seen(const AttentionWork& work) {
  const auto keys = static_cast<double>(work.key_length);
  const double window = work.window > 0 ? std::min(static_cast<double>(work.window), keys) : keys;
  return work.causal && keys > 0 ? window - window * window / (2 * keys) : window;
}

bool empty(const AttentionWork& work) {
  return work.sequences <= 0 || work.query_length <= 0 || work.key_length <= 0 || work.heads <= 0 || work.qk_dim <= 0 ||
         work.v_dim <= 0;
}

}  // namespace

Flops attention_flops(const AttentionWork& work) {
  if (empty(work)) return Flops(0);
  const auto qk = static_cast<double>(work.qk_dim);
  const auto v = static_cast<double>(work.v_dim);
  const double head_queries =
      static_cast<double>(work.sequences) * static_cast<double>(work.query_length) * static_cast<double>(work.heads);
  // Linear: read the state, add to it, and half a chunk of ordinary scores.
  const double per_query = work.linear ? 4 * qk * v + kLinearChunk * (qk + v) : 2 * keys_seen(work) * (qk + v);
  return Flops(head_queries * per_query * (work.backward ? kBackwardFlops : 1));
}

Bytes attention_bytes(const AttentionWork& work) {
  if (empty(work)) return Bytes(0);
  const std::int64_t kv_heads = work.kv_heads > 0 ? work.kv_heads : work.heads;
  const std::int64_t query_side = work.query_length * work.heads * (work.qk_dim + work.v_dim);
  const std::int64_t key_side = work.key_length * kv_heads * (work.qk_dim + work.v_dim);
  // Backward reads Q, K, V, O and dO and writes dQ, dK, dV; dQ is summed in FP32.
  const std::int64_t elements = work.backward ? 3 * query_side + 2 * key_side : query_side + key_side;
  return storage(work.sequences * elements, work.type);
}

AttentionMachine attention_machine(const DeviceSpec& device, const AttentionParameters& parameters, DType type) {
  // Scores and their softmax run in 16 bits even where the GEMMs run in 8.
  const bool wide = type == DType::kFp32 || type == DType::kTf32;
  double peak = device.peak(wide ? type : DType::kBf16).value();
  bool emulated = peak <= 0;
  if (peak <= 0) peak = device.peak(DType::kFp16).value();
  if (peak <= 0) peak = device.peak(DType::kFp32).value();
  return {.units = static_cast<double>(std::max(1, device.compute_units)),
          .flops = std::max(peak, 1e9),
          .memory_rate = std::max(device.memory_bandwidth.value(), 1e9) * parameters.memory_efficiency,
          .parameters = parameters,
          .emulated = emulated};
}

Cost attention_cost(const AttentionMachine& machine, const AttentionWork& work) {
  Cost cost;
  cost.extrapolated = machine.emulated || work.linear;
  if (empty(work)) return cost;
  const AttentionParameters& p = machine.parameters;
  const double efficiency =
      (work.backward ? p.backward_efficiency : p.forward_efficiency) * (work.qk_dim > 128 ? p.wide_head_factor : 1);
  const double rate = machine.flops * efficiency;
  const double flops = attention_flops(work).value();
  double math = flops / rate;
  if (!work.linear) {
    const double length = static_cast<double>(work.backward ? work.key_length : work.query_length);
    const double blocks = static_cast<double>(work.sequences * work.heads) * std::ceil(length / kBlock);
    // The longest block sees twice the mean under a causal mask without a window.
    const double longest = flops / blocks * (work.causal && work.window == 0 ? 2 : 1) / (rate / machine.units);
    math = std::max(longest, math + (work.backward ? p.backward_tail : p.forward_tail) * longest);
  }
  const double memory = attention_bytes(work).value() / machine.memory_rate;
  const double body = std::max(math, memory);
  cost.time = Seconds(p.overhead.value() + body);
  cost.bound = p.overhead.value() > body ? Bound::kLatency : (math >= memory ? Bound::kMath : Bound::kMemory);
  return cost;
}

}  // namespace moesim
