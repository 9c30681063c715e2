#include "sim/program/adjoint.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.hpp"
#include "sim/program/forward_results.hpp"
#include "sim/program/wire_format.hpp"

namespace moesim {
namespace {

class AdjointWriter {
 public:
  AdjointWriter(ChunkBuilder& builder, Chunk& chunk, TensorId input, WeightGradients weights)
      : builder_(builder),
        chunk_(chunk),
        weights_apart_(weights == WeightGradients::kApart),
        results_(builder, chunk, input) {}

  void seed(TensorId tensor, TensorId gradient) { set_gradient(tensor, gradient); }

  void run() {
    const auto& tape = builder_.tape();
    auto pattern = builder_.patterns().rbegin();
    for (std::size_t i = tape.size(); i > 0;) {
      if (pattern == builder_.patterns().rend() || pattern->last != i) {
        differentiate(tape[--i]);
        continue;
      }
      for (auto entry = pattern->entries.rbegin(); entry != pattern->entries.rend(); ++entry) differentiate(*entry);
      i = pattern++->first;
    }
  }

  [[nodiscard]] TensorId gradient(TensorId tensor) const {
    return tensor.index() < gradients_.size() ? gradients_[tensor.index()] : TensorId();
  }
  std::vector<Op>& input_ops() { return input_ops_; }
  std::vector<Op>& weight_ops() { return weight_ops_; }

 private:
  void set_gradient(TensorId tensor, TensorId gradient) {
    if (gradients_.size() <= tensor.index()) gradients_.resize(chunk_.tensors.size());
    gradients_[tensor.index()] = gradient;
  }

  Op& emit(std::vector<Op>& ops, OpKind kind, Phase phase, const Op& of, OperandList inputs, OperandList outputs) {
    Op op;
    op.kind = kind;
    op.phase = phase;
    op.layer = of.layer;
    op.name = of.name;
    op.inputs = inputs;
    op.outputs = outputs;
    op.attention = of.attention;
    op.fusion = of.fusion;
    op.columns = of.columns;
    ops.push_back(op);
    return ops.back();
  }

  void ensure(TensorId id) { results_.ensure(id, input_ops_); }

  TensorId gradient_like(TensorId tensor) {
    const Tensor original = chunk_.tensors[tensor.index()];
    const DType type = original.type == DType::kFp8 ? builder_.recipe().activation : original.type;
    const TensorId id = builder_.make(original.name, TensorRole::kActivationGradient, type, original.rows,
                                      original.columns, original.groups);
    chunk_.tensors[id.index()].layer = original.layer;
    return id;
  }

  // Adds a contribution to the gradient of `tensor`; the second and later ones cost a sum.
  void contribute(TensorId tensor, TensorId gradient, const Op& of) {
    const TensorId previous = this->gradient(tensor);
    if (!previous.valid()) {
      set_gradient(tensor, gradient);
      return;
    }
    const TensorId sum = gradient_like(tensor);
    Op& add = emit(input_ops_, OpKind::kAdd, Phase::kBackwardInput, of, {previous, gradient}, {sum});
    add.fusion = Fusion::kNone;
    add.columns = {};
    set_gradient(tensor, sum);
  }

  // Pieces of rows that met one weight add to one gradient.
  TensorId weight_gradient(TensorId weight) {
    const auto known = weight_gradients_.find(weight);
    if (known != weight_gradients_.end()) return known->second;
    const Tensor original = chunk_.tensors[weight.index()];
    const TensorId id = builder_.make(original.name, TensorRole::kWeightGradient, builder_.recipe().gradient,
                                      original.rows, original.columns, original.groups, original.replicas);
    chunk_.tensors[id.index()].layer = original.layer;
    chunk_.tensors[id.index()].tied = original.tied;
    chunk_.tensors[id.index()].gradient_of = weight;
    weight_gradients_.emplace(weight, id);
    return id;
  }

  // y = f(x) with an adjoint that maps gy (and whatever `also` lists) to gx.
  void elementwise(const Op& op, OpKind adjoint, OperandList also) {
    const TensorId gy = gradient(op.outputs[0]);
    OperandList inputs{gy};
    for (const TensorId id : also) {
      ensure(id);
      inputs.push_back(id);
    }
    const TensorId gx = gradient_like(op.inputs[0]);
    emit(input_ops_, adjoint, Phase::kBackwardInput, op, inputs, {gx});
    contribute(op.inputs[0], gx, op);
  }

  void linear(const Op& op, OpKind dgrad, OpKind wgrad) {
    const TensorId x = op.inputs[0];
    const TensorId w = op.inputs[1];
    TensorId gy = gradient(op.outputs[0]);
    const bool needs_cast = chunk_.tensors[x.index()].type == DType::kFp8;
    if (needs_cast) {
      const Tensor g = chunk_.tensors[gy.index()];
      const TensorId cast = builder_.make(g.name, TensorRole::kActivationGradient, DType::kFp8, g.rows, g.columns);
      chunk_.tensors[cast.index()].layer = g.layer;
      emit(input_ops_, OpKind::kCast, Phase::kBackwardInput, op, {gy}, {cast});
      gy = cast;
    }
    ensure(x);  // a gather that has to be repeated is issued before dgrad, and hides behind it
    ensure(w);  // where it was fetched
    const TensorId gx = gradient_like(x);
    OperandList inputs{gy, w};
    const TensorId so_far = op.columns.of > 1 ? gradient(x) : TensorId();
    if (so_far.valid()) inputs.push_back(so_far);
    emit(input_ops_, dgrad, Phase::kBackwardInput, op, inputs, {gx});
    emit(weights_apart_ ? weight_ops_ : input_ops_, wgrad, Phase::kBackwardWeight, op, {x, gy},
         {chunk_.tensors[w.index()].role == TensorRole::kWeight ? weight_gradient(w) : fetched_gradient(w)});
    if (so_far.valid()) {
      set_gradient(x, gx);
    } else {
      contribute(x, gx, op);
    }
  }

  // Of weights that were fetched: kept apart until it goes back.
  TensorId fetched_gradient(TensorId copy) {
    const TensorId id = gradient_like(copy);
    chunk_.tensors[id.index()].type = builder_.recipe().gradient;
    MOESIM_ASSERT(!gradient(copy).valid());  // one batch of copies meets them
    set_gradient(copy, id);
    return id;
  }

  // The operands of the gradients' way are those of the weights' way, without the gate.
  void return_gradients(const Op& op) {
    std::vector<Op>& ops = weights_apart_ ? weight_ops_ : input_ops_;
    OperandList gradients;
    OperandList sums;
    for (const TensorId copy : op.outputs) {
      gradients.push_back(gradient(copy));
      sums.push_back(gradient_like(gradient(copy)));
    }
    Op& back = emit(ops, OpKind::kReturnExpertGrads, Phase::kBackwardWeight, op, gradients, sums);
    back.group = op.group;
    back.stream = op.stream;
    back.cut = op.cut;
    for (int i = 0; i < sums.size(); ++i)
      emit(ops, OpKind::kAddExpertGrads, Phase::kBackwardWeight, op, {sums[i]}, {weight_gradient(op.inputs[i])}).cut =
          op.cut;
  }

  // A share is taken where one computes, and its gradients are gathered over the links of its group.
  static Stream conjugate_stream(const Op& op, OpKind kind) {
    if (!is_communication(kind)) return Stream::kCompute;
    if (is_communication(op.kind)) return op.stream;
    return op.group == GroupKind::kEsp ? Stream::kEsp : Stream::kTp;
  }

  // What has a conjugate: operand i of the output maps back to operand i of the input.
  void conjugate(const Op& op, OpKind kind) {
    OperandList gys;
    OperandList gxs;
    for (int i = 0; i < op.outputs.size(); ++i) {
      const TensorId gy = gradient(op.outputs[i]);
      if (!gy.valid()) continue;
      gys.push_back(gy);
      gxs.push_back(gradient_like(op.inputs[i]));
    }
    Op& adjoint = emit(input_ops_, kind, Phase::kBackwardInput, op, gys, gxs);
    adjoint.group = op.group;
    adjoint.stream = conjugate_stream(op, kind);
    for (int i = 0, g = 0; i < op.outputs.size(); ++i)
      if (gradient(op.outputs[i]).valid()) contribute(op.inputs[i], gxs[g++], op);
  }

  // Gradients travel in the types that they are in, with the scales of those that have been compressed.
  void exchange_gradients(const Op& op) {
    OperandList gys;
    OperandList gxs;
    const auto move = [&](TensorId gy, TensorId like) {
      const Tensor gradient = chunk_.tensors[gy.index()];
      const Tensor original = chunk_.tensors[like.index()];
      const TensorId gx =
          builder_.make(original.name, TensorRole::kActivationGradient, gradient.type, original.rows, gradient.columns);
      chunk_.tensors[gx.index()].layer = original.layer;
      gys.push_back(gy);
      gxs.push_back(gx);
      return gx;
    };
    for (int i = 0; i < op.outputs.size(); ++i)
      if (const TensorId gy = gradient(op.outputs[i]); gy.valid()) contribute(op.inputs[i], move(gy, op.inputs[i]), op);
    const TensorId packed = gys[0];
    if (const auto scales = scales_.find(packed); scales != scales_.end())
      scales_.emplace(gxs[0], move(scales->second, op.inputs[0]));
    Op& adjoint = emit(input_ops_, opposite_exchange(op.kind), Phase::kBackwardInput, op, gys, gxs);
    adjoint.group = op.group;
    adjoint.stream = op.stream;
    results_.has_exchanged(op.layer, input_ops_);
  }

  // Rounding passes its gradient through. Behind the exchange of the forward pass, and so before that of the backward pass.
  void pack_gradient(const ChunkBuilder::Entry& entry) {
    const Op& op = entry.op;
    const TensorId gy = gradient(op.outputs[0]);
    const Tensor full = chunk_.tensors[gy.index()];
    const auto type = packed_type(builder_.plan(), opposite_exchange(entry.exchange), full.type);
    if (!type) return set_gradient(op.inputs[0], gy);
    const auto make = [&](std::string_view name, DType of, std::int64_t columns) {
      const TensorId id = builder_.make(name, TensorRole::kActivationGradient, of, full.rows, columns);
      chunk_.tensors[id.index()].layer = full.layer;
      return id;
    };
    const TensorId packed = make("moe.packed", *type, full.columns);
    OperandList outputs{packed};
    if (*type == DType::kFp8) {
      outputs.push_back(make("moe.scales", DType::kFp32, scales_of_row(full.columns)));
      scales_.emplace(packed, outputs[1]);
    }
    emit(input_ops_, OpKind::kCompress, Phase::kBackwardInput, op, {gy}, outputs);
    set_gradient(op.inputs[0], packed);
  }

  void unpack_gradient(const ChunkBuilder::Entry& entry) {
    const Op& op = entry.op;
    const TensorId packed = gradient(op.outputs[0]);
    const TensorId x = op.inputs[0];
    const DType computed = chunk_.tensors[x.index()].type;
    if (!packed_type(builder_.plan(), opposite_exchange(entry.exchange), computed)) {
      if (entry.forward) contribute(x, packed, op);
      return;
    }
    OperandList inputs{packed};
    if (const auto scales = scales_.find(packed); scales != scales_.end()) inputs.push_back(scales->second);
    const TensorId gx = gradient_like(x);
    emit(input_ops_, OpKind::kDecompress, Phase::kBackwardInput, op, inputs, {gx});
    if (entry.forward) {
      contribute(x, gx, op);
    } else {
      set_gradient(x, gx);
    }
  }

  void differentiate(const ChunkBuilder::Entry& entry) {
    const Op op = entry.op;
    if (op.kind == OpKind::kCrossEntropy) {
      ensure(builder_.loss_logits());
      const TensorId glogits = gradient_like(op.inputs[0]);
      emit(input_ops_, OpKind::kCrossEntropyGrad, Phase::kBackwardInput, op,
           {builder_.loss_logits(), builder_.loss_statistics()}, {glogits});
      set_gradient(op.inputs[0], glogits);
      return;
    }
    const bool reached =
        std::any_of(op.outputs.begin(), op.outputs.end(), [this](TensorId out) { return gradient(out).valid(); });
    if (!reached) return;
    switch (op.kind) {
      case OpKind::kEmbedding:
        emit(weights_apart_ ? weight_ops_ : input_ops_, OpKind::kEmbeddingGrad, Phase::kBackwardWeight, op,
             {gradient(op.outputs[0])}, {weight_gradient(op.inputs[0])});
        break;
      case OpKind::kNorm: elementwise(op, OpKind::kNormGrad, {op.inputs[0], op.inputs[1]}); break;
      case OpKind::kRotary:  // a rotation needs nothing but its gradient; norms need what they normalised
        elementwise(op, OpKind::kRotaryGrad, op.inputs.size() > 1 ? OperandList{op.inputs[0]} : OperandList{});
        break;
      case OpKind::kGemm: linear(op, OpKind::kGemmDgrad, OpKind::kGemmWgrad); break;
      case OpKind::kGroupedGemm: linear(op, OpKind::kGroupedGemmDgrad, OpKind::kGroupedGemmWgrad); break;
      case OpKind::kAttention: attention(op); break;
      case OpKind::kActivation: activation(op); break;
      case OpKind::kAdd:
        for (const TensorId input : op.inputs) contribute(input, gradient(op.outputs[0]), op);
        break;
      case OpKind::kCast: contribute(op.inputs[0], gradient(op.outputs[0]), op); break;
      case OpKind::kTopK: elementwise(op, OpKind::kTopKGrad, {op.outputs[0], op.inputs[0]}); break;
      case OpKind::kPermute: permute(op); break;
      case OpKind::kUnpermute: elementwise(op, OpKind::kUnpermuteGrad, {op.inputs[1]}); break;
      case OpKind::kSortByExpert: sort(op); break;
      case OpKind::kAllGather: conjugate(op, entry.alike ? OpKind::kTakeShare : OpKind::kReduceScatter); break;
      case OpKind::kTakeShare: conjugate(op, OpKind::kAllGather); break;
      case OpKind::kReduceScatter: conjugate(op, OpKind::kAllGather); break;
      case OpKind::kDispatch:
      case OpKind::kCombine: exchange_gradients(op); break;
      case OpKind::kCompress: unpack_gradient(entry); break;
      case OpKind::kDecompress: pack_gradient(entry); break;
      case OpKind::kFetchExperts: return_gradients(op); break;
      case OpKind::kSplitColumns: join_gradients(op, OpKind::kJoinColumns); break;
      case OpKind::kJoinColumns: split_gradient(op, OpKind::kSplitColumns); break;
      case OpKind::kSplitRows: join_gradients(op, OpKind::kJoinRows); break;
      case OpKind::kJoinRows: split_gradient(op, OpKind::kSplitRows); break;
      case OpKind::kReplicate: conjugate(op, OpKind::kSumReplicas); break;
      case OpKind::kSumReplicas: conjugate(op, OpKind::kReplicate); break;
      case OpKind::kSpread: conjugate(op, OpKind::kSumSpread); break;
      case OpKind::kSumSpread: conjugate(op, OpKind::kSpread); break;
      case OpKind::kScale: scale(op, entry.gradient_factor); break;
      case OpKind::kAllReduce: all_reduce(op, entry.forward); break;
      default: MOESIM_ASSERT(!"operation without an adjoint on the tape");
    }
  }

  void attention(const Op& op) {
    OperandList inputs{gradient(op.outputs[0])};
    OperandList outputs;
    for (const TensorId output : op.outputs) ensure(output);
    for (const TensorId input : op.inputs) {
      ensure(input);
      inputs.push_back(input);
      outputs.push_back(gradient_like(input));
    }
    for (const TensorId output : op.outputs) inputs.push_back(output);
    emit(input_ops_, OpKind::kAttentionGrad, Phase::kBackwardInput, op, inputs, outputs);
    for (int i = 0; i < outputs.size(); ++i) contribute(op.inputs[i], outputs[i], op);
  }

  void activation(const Op& op) {
    OperandList inputs{gradient(op.outputs[0])};
    OperandList outputs;
    for (const TensorId input : op.inputs) {
      ensure(input);
      inputs.push_back(input);
      outputs.push_back(gradient_like(input));
    }
    emit(input_ops_, OpKind::kActivationGrad, Phase::kBackwardInput, op, inputs, outputs);
    for (int i = 0; i < outputs.size(); ++i) contribute(op.inputs[i], outputs[i], op);
  }

  void permute(const Op& op) {
    OperandList gys;
    for (const TensorId out : op.outputs)
      if (gradient(out).valid()) gys.push_back(gradient(out));
    const TensorId gx = gradient_like(op.inputs[0]);
    const TensorId gp = gradient_like(op.inputs[1]);
    emit(input_ops_, OpKind::kPermuteGrad, Phase::kBackwardInput, op, gys, {gx, gp});
    contribute(op.inputs[0], gx, op);
    contribute(op.inputs[1], gp, op);
  }

  void sort(const Op& op) {
    OperandList gys;
    OperandList gxs;
    for (int i = 0; i < op.outputs.size(); ++i) {
      if (!gradient(op.outputs[i]).valid()) continue;
      gys.push_back(gradient(op.outputs[i]));
      gxs.push_back(gradient_like(op.inputs[i]));
      contribute(op.inputs[i], gxs[gxs.size() - 1], op);
    }
    Op& adjoint = emit(input_ops_, OpKind::kSortByExpert, Phase::kBackwardInput, op, gys, gxs);
    adjoint.to_source = static_cast<std::int8_t>(1 - op.to_source);
    adjoint.cut = op.cut;
  }

  void join_gradients(const Op& op, OpKind join) {
    OperandList pieces;
    for (const TensorId out : op.outputs) pieces.push_back(gradient(out));
    const TensorId gx = gradient_like(op.inputs[0]);
    emit(input_ops_, join, Phase::kBackwardInput, op, pieces, {gx});
    contribute(op.inputs[0], gx, op);
  }

  void split_gradient(const Op& op, OpKind split) {
    OperandList pieces;
    for (const TensorId in : op.inputs) pieces.push_back(gradient_like(in));
    emit(input_ops_, split, Phase::kBackwardInput, op, {gradient(op.outputs[0])}, pieces);
    for (int i = 0; i < pieces.size(); ++i) contribute(op.inputs[i], pieces[i], op);
  }

  void scale(const Op& op, float factor) {
    const TensorId scaled = gradient_like(op.inputs[0]);
    emit(input_ops_, OpKind::kScale, Phase::kBackwardInput, op, {gradient(op.outputs[0])}, {scaled}).factor = factor;
    contribute(op.inputs[0], scaled, op);
  }

  // Forward sum: the gradient passes through. Entry of a replicated region: the gradient is summed.
  void all_reduce(const Op& op, bool forward) {
    if (forward) {
      contribute(op.inputs[0], gradient(op.outputs[0]), op);
      return;
    }
    const TensorId g = gradient(op.inputs[0]);
    const TensorId sum = gradient_like(op.inputs[0]);
    Op& adjoint = emit(input_ops_, OpKind::kAllReduce, Phase::kBackwardInput, op, {g}, {sum});
    adjoint.group = op.group;
    adjoint.stream = op.stream;
    set_gradient(op.inputs[0], sum);
  }

  ChunkBuilder& builder_;
  Chunk& chunk_;
  bool weights_apart_;
  ForwardResults results_;
  std::vector<TensorId> gradients_;  // by tensor
  std::map<TensorId, TensorId> weight_gradients_;
  std::map<TensorId, TensorId> scales_;  // of compressed gradients
  std::vector<Op> input_ops_;
  std::vector<Op> weight_ops_;
};

}  // namespace

BackwardOps derive_backward(ChunkBuilder& builder, Chunk& chunk, TensorId input, TensorId output,
                            TensorId output_gradient, WeightGradients weights) {
  AdjointWriter writer(builder, chunk, input, weights);
  if (output_gradient.valid()) writer.seed(output, output_gradient);
  writer.run();
  BackwardOps result;
  result.input_gradient = input.valid() ? writer.gradient(input) : TensorId();
  result.input = std::move(writer.input_ops());
  result.weight = std::move(writer.weight_ops());
  return result;
}

}  // namespace moesim
