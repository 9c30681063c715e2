#include "sim/lower/lower_chunk.hpp"

#include "sim/lower/attention.hpp"
#include "sim/lower/ffn.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "sim/lower/tp_region.hpp"

namespace moesim {
namespace {

// Where the backward pass has another number of pieces, the schedule says twice what the layer is.
TensorId lower_moe(ChunkBuilder& b, TensorId x, const MoeShape& shape, const MoeSchedule& schedule) {
  const auto in_pieces = [&](int degree) {
    MoeLayerBuilder moe(b, shape, schedule.division(b.plan()), degree, schedule.shadows(b.plan(), shape));
    return schedule.forward(moe, x);
  };
  const int forward = moe_degree(schedule, b.plan());
  const int backward = moe_backward_degree(schedule, b.plan());
  const ChunkBuilder::Place first = b.place();
  const TensorId y = in_pieces(forward);
  if (backward == forward) return y;
  b.begin_pattern(first);
  b.end_pattern(y, in_pieces(backward));
  return y;
}

TensorId lower_layer(ChunkBuilder& b, TensorId x, LayerId id, const MoeSchedule& schedule) {
  const LayerShape& layer = b.model().layer(id);
  b.begin_layer(id, x);
  const TensorId attended = lower_attention(b, x, layer);
  const TensorId normed = layer.norms >= 2 ? b.norm("ffn.norm", attended) : attended;
  TensorId y;
  if (layer.dense) {
    y = lower_ffn(b, normed, *layer.dense, FfnPlace::kDense);
  } else {
    y = lower_moe(b, normed, *layer.moe, schedule);
  }
  if (layer.norms >= 4) y = b.norm("ffn.out_norm", y);
  const TensorId out = b.add("ffn.residual", attended, y);
  b.end_layer();
  return out;
}

void lower_head(ChunkBuilder& b, TensorId x) {
  const TensorId entered = enter_tp(b, "head.enter", b.norm("head.norm", x));
  const std::int64_t columns = padded_vocab(b.model().vocab, b.plan().sizes().tp) / b.plan().sizes().tp;
  const TensorId logits =
      b.model().tied_embeddings
          ? b.tied_linear("head.logits", entered, columns)
          : b.linear("head.logits", entered,
                     {.in = b.model().hidden, .out = columns, .bias = b.model().lm_head_bias, .high_precision = true});
  b.loss("head.loss", logits);
}

// What stands on the tape, and the backward pass that follows from it.
ChunkOps chunk_ops(ChunkBuilder& b, WeightGradients weights, Chunk& chunk) {
  ChunkOps ops;
  for (const ChunkBuilder::Entry& entry : b.tape())
    if (entry.forward) ops.forward.push_back(entry.op);
  if (chunk.output.valid())
    chunk.output_gradient = b.make("chunk.output", TensorRole::kActivationGradient, b.recipe().activation,
                                   {rows_outside_tp(b.plan())}, b.model().hidden);
  ops.backward = derive_backward(b, chunk, chunk.input, chunk.output, chunk.output_gradient, weights);
  chunk.input_gradient = ops.backward.input_gradient;
  return ops;
}

}  // namespace

Result<ChunkOps> lower_chunk(const Plan& plan, const ModelShape& model, const Layout& layout,
                             const PrecisionRecipe& recipe, WeightGradients weights, Chunk& chunk) {
  MOESIM_ASSIGN(const MoeSchedule* schedule, moe_schedule_of(plan));
  ChunkBuilder b(plan, model, layout, recipe, chunk);
  TensorId x;
  if (chunk.has_embedding) {
    x = exit_tp(b, "embedding.exit", b.embedding(plan.tokens_per_micro_batch()));
  } else {
    x = b.external("chunk.input", {rows_outside_tp(plan)}, model.hidden);
    chunk.input = x;
  }
  for (int layer = chunk.first_layer; layer < chunk.last_layer; ++layer) {
    if (const auto& moe = model.layer(LayerId(layer)).moe) {
      MOESIM_TRY(check_moe_schedule(*schedule, plan, *moe));
    }
  }
  for (int layer = chunk.first_layer; layer < chunk.last_layer; ++layer)
    x = lower_layer(b, x, LayerId(layer), *schedule);
  if (chunk.has_head) {
    lower_head(b, x);
  } else {
    chunk.output = x;
  }
  return chunk_ops(b, weights, chunk);
}

Result<ChunkOps> lower_moe_block(const Plan& plan, const ModelShape& model, const Layout& layout,
                                 const PrecisionRecipe& recipe, Chunk& chunk) {
  MOESIM_ASSIGN(const MoeSchedule* schedule, moe_schedule_of(plan));
  const LayerId id(chunk.first_layer);
  const std::optional<MoeShape>& shape = model.layer(id).moe;
  MOESIM_ASSERT(shape.has_value());
  MOESIM_TRY(check_moe_schedule(*schedule, plan, *shape));
  ChunkBuilder b(plan, model, layout, recipe, chunk);
  chunk.input = b.external("chunk.input", {rows_outside_tp(plan)}, model.hidden);
  b.begin_layer(id, chunk.input);
  chunk.output = lower_moe(b, chunk.input, *shape, *schedule);
  b.end_layer();
  return chunk_ops(b, WeightGradients::kInline, chunk);
}

}  // namespace moesim
