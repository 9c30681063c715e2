#include "sim/lower/grad_sync.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "base/error.hpp"

namespace moesim {
namespace {

Op bucket_op(OpKind kind, GroupKind replicas, std::int64_t elements, DType type, std::int32_t after) {
  const bool expert = replicas == GroupKind::kEdp;
  Op op;
  op.kind = kind;
  op.phase = Phase::kGradSync;
  op.stream = Stream::kDp;
  op.group = replicas;
  op.name = kind == OpKind::kReduceGrads ? (expert ? "sync.expert_grads" : "sync.dense_grads")
                                         : (expert ? "sync.expert_params" : "sync.dense_params");
  op.payload_elements = elements;
  op.payload_type = type;
  op.after = after;
  return op;
}

// Guests of a bucket's experts come from their homes, or their gradients go there. How many numbers that is between whom stands in the
// plan's slots, not in the payload.
Op guest_op(OpKind kind, DType type, std::int32_t after) {
  Op op = bucket_op(kind, GroupKind::kEp, 0, type, after);
  op.name = kind == OpKind::kReduceGrads ? "sync.guest_grads" : "sync.guest_params";
  return op;
}

std::int32_t add_bucket(std::vector<WeightBucket>& buckets, const Chunk& chunk, std::vector<TensorId> weights) {
  buckets.push_back({chunk.index, std::move(weights)});
  return static_cast<std::int32_t>(buckets.size()) - 1;
}

// A tied table belongs to the embedding; only a pass for which parameters are gathered anew needs it under both names.
enum class TiedTables { kLeftOut, kAsWell };

// The chunk's weights that one group replicates.
std::vector<TensorId> weights_of(const Chunk& chunk, GroupKind replicas, std::size_t first, std::size_t last,
                                 TiedTables tied = TiedTables::kLeftOut) {
  std::vector<TensorId> weights;
  for (std::size_t i = first; i < last; ++i) {
    const Tensor& tensor = chunk.tensors[i];
    if (tensor.role == TensorRole::kWeight && (!tensor.tied || tied == TiedTables::kAsWell) &&
        tensor.replicas == replicas)
      weights.emplace_back(static_cast<std::int32_t>(i));
  }
  return weights;
}

// Norms have no gradient operation of their own: the gradient of what they normalise adds to it.
bool adds_to_vector_gradient(const Op& op) {
  return op.kind == OpKind::kNormGrad || (op.kind == OpKind::kRotaryGrad && op.inputs.size() > 1);
}

bool reduces_in(ZeroStage zero, WhichPass pass, bool overlap) {
  if (zero >= ZeroStage::kGradients) return true;
  return pass == WhichPass::kLastBackward && overlap;
}

DType gradient_type(const Chunk& chunk) {
  for (const Tensor& tensor : chunk.tensors)
    if (tensor.role == TensorRole::kWeightGradient) return tensor.type;
  return DType::kFp32;
}

// Which whole gradients of ZeRO 2 and 3 a rank may have at a time: see kBucketsBehind.
class PassingBuckets {
 public:
  // `op` adds to a gradient of this group. Where that begins a bucket, it waits.
  void add_to(Op& op, GroupKind replicas) {
    bool& filling = filling_[static_cast<std::size_t>(replicas)];
    if (std::exchange(filling, true)) return;
    if (std::exchange(begun_, true)) {
      if (reductions_.size() <= kBucketsBehind) return;
      MOESIM_ASSERT(op.after < 0);
      op.after = reductions_[reductions_.size() - 1 - kBucketsBehind];
    } else {
      op.wait_streams |= stream_bit(Stream::kDp);
    }
  }
  // The group's bucket goes, with the operation at this place.
  void gone(GroupKind replicas, std::int32_t reduction) {
    filling_[static_cast<std::size_t>(replicas)] = false;
    reductions_.push_back(reduction);
  }

 private:
  std::array<bool, kGroupKinds> filling_{};
  bool begun_ = false;
  std::vector<std::int32_t> reductions_;
};

// The parameters of one layer (or of the embedding, or the head) that one group replicates.
struct WeightPart {
  GroupKind replicas = GroupKind::kDpCp;
  std::int64_t elements = 0;
  DType type = DType::kBf16;  // that of the largest tensor: norms may be kept in a wider format than matrices
  std::int64_t largest = 0;
  void add(const Tensor& tensor) {
    elements += tensor.owned_elements();
    if (tensor.owned_elements() <= largest) return;
    largest = tensor.owned_elements();
    type = tensor.type;
  }
};
struct LayerWeights {
  LayerId layer;
  std::size_t first = 0;  // tensors [first, last)
  std::size_t last = 0;
  std::array<WeightPart, 2> parts{WeightPart{GroupKind::kDpCp}, WeightPart{GroupKind::kEdp}};
};
// In the order of the tape, so that embedding and head stay apart.
std::vector<LayerWeights> weights_by_layer(const Chunk& chunk, TiedTables tied) {
  std::vector<LayerWeights> layers;
  for (std::size_t i = 0; i < chunk.tensors.size(); ++i) {
    const Tensor& tensor = chunk.tensors[i];
    if (tensor.role != TensorRole::kWeight || (tensor.tied && tied == TiedTables::kLeftOut)) continue;
    if (layers.empty() || layers.back().layer != tensor.layer) {
      layers.push_back({});
      layers.back().layer = tensor.layer;
      layers.back().first = i;
    }
    layers.back().last = i + 1;
    layers.back().parts[tensor.is_expert_weight() ? 1 : 0].add(tensor);
  }
  return layers;
}

// Those with room for guests, of a list.
std::vector<TensorId> with_guests(const Chunk& chunk, std::vector<TensorId> weights) {
  std::erase_if(weights, [&](TensorId id) { return !chunk.tensors[id.index()].guests.room; });
  return weights;
}

// Guests' gradients go home before those are reduced: in every pass where that is done in every pass, else once.
bool returns_in(const Plan& plan, const Layout& layout, WhichPass pass) {
  const ZeroStage zero = layout.group_size(GroupKind::kEdp) > 1 ? plan.zero_expert : ZeroStage::kNone;
  return layout.group_size(GroupKind::kEp) > 1 && reduces_in(zero, pass, plan.overlap_grad_reduce);
}

// Whether the run of compute operations of one layer that starts at `start` reads any of these weights.
bool run_reads(const std::vector<Op>& ops, std::size_t start, const LayerWeights& weights) {
  for (std::size_t i = start; i < ops.size(); ++i) {
    if (ops[i].stream != Stream::kCompute) continue;
    if (ops[i].layer != ops[start].layer) return false;
    for (const TensorId id : ops[i].inputs)
      if (id.index() >= weights.first && id.index() < weights.last) return true;
  }
  return false;
}

}  // namespace

LocalParameters local_parameters(const Chunk& chunk) {
  LocalParameters sum;
  for (const Tensor& tensor : chunk.tensors) {
    if (tensor.role != TensorRole::kWeight || tensor.tied) continue;
    (tensor.is_expert_weight() ? sum.expert : sum.dense) += tensor.owned_elements();
  }
  return sum;
}

std::int64_t elements_summed_over_tp(const Chunk& chunk, int tp) {
  std::int64_t sum = 0;
  for (const Tensor& tensor : chunk.tensors)
    if (tensor.role == TensorRole::kWeight && tensor.sums_over_tp) sum += tensor.elements() * (tp / tensor.tp_copies);
  return sum;
}

void add_grad_reductions(std::vector<Op>& ops, const Chunk& chunk, const Plan& plan, const Layout& layout,
                         WhichPass pass, std::vector<WeightBucket>& lists) {
  const DType type = gradient_type(chunk);
  PassingBuckets passing;
  LocalParameters left = local_parameters(chunk);
  struct Bucket {
    GroupKind replicas;
    std::int64_t ready = 0;
    std::int64_t* left;
    std::vector<TensorId> full;  // whose gradients went already
    std::vector<TensorId> weights;
  };
  Bucket buckets[2] = {{GroupKind::kDpCp, 0, &left.dense, {}, {}}, {GroupKind::kEdp, 0, &left.expert, {}, {}}};
  // Rows in pieces add to a gradient several times; it is ready after the last.
  std::map<TensorId, std::size_t> last_addition;
  for (std::size_t i = 0; i < ops.size(); ++i)
    if (ops[i].phase == Phase::kBackwardWeight) last_addition[ops[i].outputs[0]] = i;
  const auto passes = [&](const Tensor& gradient) {
    return plan.zero_of(gradient.replicas) >= ZeroStage::kGradients && layout.group_size(gradient.replicas) > 1;
  };
  std::vector<Op> result;
  std::vector<std::int32_t> moved_to(ops.size());
  std::int32_t last_gradient = -1;
  // What a reduction of these weights waits for.
  const auto return_guests = [&](const std::vector<TensorId>& weights) {
    std::vector<TensorId> guests = with_guests(chunk, weights);
    if (guests.empty() || !returns_in(plan, layout, pass)) return last_gradient;
    result.push_back(guest_op(OpKind::kReduceGrads, type, last_gradient));
    result.back().bucket = add_bucket(lists, chunk, std::move(guests));
    return static_cast<std::int32_t>(result.size()) - 1;
  };
  for (std::size_t i = 0; i < ops.size(); ++i) {
    Op op = ops[i];
    if (op.after >= 0) op.after = moved_to[static_cast<std::size_t>(op.after)];
    moved_to[i] = static_cast<std::int32_t>(result.size());
    if (op.phase == Phase::kBackwardWeight) {
      const Tensor& gradient = chunk.tensors[op.outputs[0].index()];
      if (passes(gradient)) passing.add_to(op, gradient.replicas);
    }
    result.push_back(op);
    if (adds_to_vector_gradient(op)) last_gradient = moved_to[i];
    if (op.phase != Phase::kBackwardWeight) continue;
    last_gradient = moved_to[i];
    if (last_addition[op.outputs[0]] != i) continue;
    for (Bucket& bucket : buckets) {
      const Tensor& gradient = chunk.tensors[op.outputs[0].index()];
      if (gradient.replicas != bucket.replicas) continue;
      if (gradient.tied) continue;  // adds to the gradient of the embedding, which comes later
      bucket.ready += chunk.tensors[gradient.gradient_of.index()].owned_elements();
      bucket.weights.push_back(gradient.gradient_of);
      // A full bucket goes; the vectors that have no gradient operation of their own (norms, biases) go with the last.
      if (bucket.ready < plan.grad_bucket_elements) continue;
      const std::int32_t complete = return_guests(bucket.weights);
      if (layout.group_size(bucket.replicas) > 1 &&
          reduces_in(plan.zero_of(bucket.replicas), pass, plan.overlap_grad_reduce)) {
        result.push_back(bucket_op(OpKind::kReduceGrads, bucket.replicas, bucket.ready, type, complete));
        result.back().bucket = add_bucket(lists, chunk, bucket.weights);
        if (plan.zero_of(bucket.replicas) >= ZeroStage::kGradients)
          passing.gone(bucket.replicas, static_cast<std::int32_t>(result.size()) - 1);
      }
      bucket.full.insert(bucket.full.end(), bucket.weights.begin(), bucket.weights.end());
      bucket.weights.clear();
      *bucket.left -= bucket.ready;
      bucket.ready = 0;
    }
  }
  for (const Bucket& bucket : buckets) {
    if (*bucket.left == 0) continue;
    std::vector<TensorId> rest = weights_of(chunk, bucket.replicas, 0, chunk.tensors.size());
    std::erase_if(rest, [&](TensorId id) { return std::ranges::find(bucket.full, id) != bucket.full.end(); });
    const std::int32_t complete = return_guests(rest);
    if (layout.group_size(bucket.replicas) == 1 ||
        !reduces_in(plan.zero_of(bucket.replicas), pass, plan.overlap_grad_reduce))
      continue;
    result.push_back(bucket_op(OpKind::kReduceGrads, bucket.replicas, *bucket.left, type, complete));
    result.back().bucket = add_bucket(lists, chunk, std::move(rest));
  }
  ops = std::move(result);
}

void add_param_gathers(std::vector<Op>& ops, const Chunk& chunk, const Plan& plan, const Layout& layout, WhichPass pass,
                       std::vector<WeightBucket>& lists) {
  const auto gathers = [&](GroupKind replicas) {
    const ZeroStage zero = plan.zero_of(replicas);
    if (layout.group_size(replicas) == 1) return false;
    if (zero == ZeroStage::kParameters) return true;
    return pass == WhichPass::kFirstForward && plan.overlap_param_gather && zero >= ZeroStage::kOptimizer;
  };
  const bool fetches = pass == WhichPass::kFirstForward && plan.overlap_param_gather &&
                       layout.group_size(GroupKind::kEp) > 1 &&
                       !with_guests(chunk, weights_of(chunk, GroupKind::kEdp, 0, chunk.tensors.size())).empty();
  if (!gathers(GroupKind::kDpCp) && !gathers(GroupKind::kEdp) && !fetches) return;
  const TiedTables tied =
      plan.zero_of(GroupKind::kDpCp) == ZeroStage::kParameters ? TiedTables::kAsWell : TiedTables::kLeftOut;
  const std::vector<LayerWeights> layers = weights_by_layer(chunk, tied);
  // With ZeRO 3 a layer's parameters are fetched while the layer before it runs, not earlier: they take memory.
  std::vector<Op> result;
  std::vector<std::int32_t> moved_to(ops.size());
  LayerId current(-2);
  std::int32_t layer_start = -1;
  std::map<TensorId, std::int32_t>
      fetched;  // weights whose guests nothing has waited for yet: the operation that fetches
  for (std::size_t i = 0; i < ops.size(); ++i) {
    Op op = ops[i];
    if (op.after >= 0) op.after = moved_to[static_cast<std::size_t>(op.after)];
    std::int32_t gathered = -1;
    if (op.stream == Stream::kCompute && op.layer != current) {
      current = op.layer;
      for (const LayerWeights& weights : layers) {
        if (weights.layer != current || !run_reads(ops, i, weights)) continue;
        for (const WeightPart& part : weights.parts) {
          if (part.elements == 0 || !gathers(part.replicas)) continue;
          const bool prefetch_one = plan.zero_of(part.replicas) == ZeroStage::kParameters;
          result.push_back(bucket_op(OpKind::kGatherParams, part.replicas, part.elements, part.type,
                                     prefetch_one ? layer_start : -1));
          result.back().bucket =
              add_bucket(lists, chunk, weights_of(chunk, part.replicas, weights.first, weights.last, tied));
          gathered = static_cast<std::int32_t>(result.size()) - 1;
        }
        std::vector<TensorId> guests;
        if (fetches) guests = with_guests(chunk, weights_of(chunk, GroupKind::kEdp, weights.first, weights.last));
        if (guests.empty()) continue;
        for (const TensorId id : guests) fetched[id] = static_cast<std::int32_t>(result.size());
        result.push_back(guest_op(OpKind::kGatherParams, chunk.tensors[guests.front().index()].type, -1));
        result.back().bucket = add_bucket(lists, chunk, std::move(guests));
      }
      layer_start = static_cast<std::int32_t>(result.size());
    }
    // The stream runs in order, so the last one stands for all, and for a reduction that the operation waited for.
    if (gathered >= 0) op.after = gathered;
    // Not before the experts: the layer's attention need not wait for guests.
    for (const TensorId id : op.inputs)
      if (const auto found = fetched.find(id); found != fetched.end()) {
        const std::int32_t fetch = found->second;
        if (op.after < 0) {
          op.after = fetch;
        } else {
          op.wait_streams |= stream_bit(Stream::kDp);
        }
        std::erase_if(fetched, [fetch](const auto& entry) { return entry.second == fetch; });
      }
    moved_to[i] = static_cast<std::int32_t>(result.size());
    result.push_back(op);
  }
  ops = std::move(result);
}

std::vector<Op> whole_chunk_reductions(const Chunk& chunk, const Plan& plan, const Layout& layout,
                                       std::vector<WeightBucket>& lists) {
  std::vector<Op> ops;
  const LocalParameters sum = local_parameters(chunk);
  std::int32_t returned = -1;
  std::vector<TensorId> guests = with_guests(chunk, weights_of(chunk, GroupKind::kEdp, 0, chunk.tensors.size()));
  if (!guests.empty() && layout.group_size(GroupKind::kEp) > 1 &&
      (plan.zero_expert < ZeroStage::kGradients || layout.group_size(GroupKind::kEdp) == 1)) {
    ops.push_back(guest_op(OpKind::kReduceGrads, gradient_type(chunk), -1));
    ops.back().bucket = add_bucket(lists, chunk, std::move(guests));
    returned = 0;
  }
  const std::pair<GroupKind, std::int64_t> parts[] = {{GroupKind::kDpCp, sum.dense}, {GroupKind::kEdp, sum.expert}};
  for (const auto& [replicas, elements] : parts)
    if (elements > 0 && layout.group_size(replicas) > 1 && plan.zero_of(replicas) < ZeroStage::kGradients) {
      ops.push_back(bucket_op(OpKind::kReduceGrads, replicas, elements, gradient_type(chunk),
                              replicas == GroupKind::kEdp ? returned : -1));
      ops.back().bucket = add_bucket(lists, chunk, weights_of(chunk, replicas, 0, chunk.tensors.size()));
    }
  return ops;
}

std::vector<Op> whole_chunk_gathers(const Chunk& chunk, const Plan& plan, const Layout& layout,
                                    std::vector<WeightBucket>& lists) {
  std::vector<Op> ops;
  for (const LayerWeights& weights : weights_by_layer(chunk, TiedTables::kLeftOut))
    for (const WeightPart& part : weights.parts) {
      const ZeroStage zero = plan.zero_of(part.replicas);
      if (part.elements > 0 && layout.group_size(part.replicas) > 1 &&
          (zero == ZeroStage::kOptimizer || zero == ZeroStage::kGradients)) {
        ops.push_back(bucket_op(OpKind::kGatherParams, part.replicas, part.elements, part.type, -1));
        ops.back().bucket = add_bucket(lists, chunk, weights_of(chunk, part.replicas, weights.first, weights.last));
      }
    }
  if (layout.group_size(GroupKind::kEp) == 1) return ops;
  for (const LayerWeights& weights : weights_by_layer(chunk, TiedTables::kLeftOut)) {
    std::vector<TensorId> guests = with_guests(chunk, weights_of(chunk, GroupKind::kEdp, weights.first, weights.last));
    if (guests.empty()) continue;
    ops.push_back(guest_op(OpKind::kGatherParams, chunk.tensors[guests.front().index()].type, -1));
    ops.back().bucket = add_bucket(lists, chunk, std::move(guests));
  }
  return ops;
}

}  // namespace moesim
