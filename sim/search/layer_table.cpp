#include "sim/search/layer_table.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "sim/engine/entity_pricer.hpp"
#include "sim/lower/grad_sync.hpp"
#include "sim/lower/lower_chunk.hpp"
#include "sim/memory/block_memory.hpp"
#include "sim/search/block_span.hpp"

namespace moesim {
namespace {

// A lowered piece of the model with its priced operations; MoE layers of one kind share it and price again what depends on
// their loads.
struct Piece {
  Chunk chunk;
  ChunkOps together;  // weight gradients inline
  ChunkOps apart;
  std::vector<double> forward, backward, input, weight;  // seconds
  std::int64_t backward_working = 0;
};

class TableMaker {
 public:
  TableMaker(const Plan& plan, const ModelShape& model, const CostModel& costs, std::shared_ptr<const RoutedLoads> loads)
      : costs_(costs) {
    program_.plan = plan;
    program_.model = model;
    program_.loads = std::move(loads);
  }

  Status prepare() {
    MOESIM_ASSIGN(program_.recipe, find_precision(program_.plan.precision));
    MOESIM_ASSIGN(Layout layout, Layout::make(program_.plan.layout, costs_.view().ranks()));
    program_.layout = std::make_shared<const Layout>(std::move(layout));
    const LoadClass worst = load_classes(*program_.layout, *program_.loads).front();
    const ParallelSizes& sizes = program_.plan.sizes();
    if (program_.loads->moe_layers > 0) group_.emplace(*program_.loads, worst.sources, sizes.ep, sizes.esp);
    std::vector<RankId> ranks;
    for (const int position : worst.members.front())
      ranks.push_back(program_.layout->stage_ranks(StageId(0))[static_cast<std::size_t>(position)]);
    // A bound must hold on the fastest device of a mixed cluster.
    int device = 0;
    for (int d = 1; d < static_cast<int>(costs_.view().devices().size()); ++d)
      if (rate_of(d) > rate_of(device)) device = d;
    pricer_.emplace(program_, costs_, std::move(ranks), group_ ? &*group_ : nullptr, std::nullopt, 0, device);
    return {};
  }

  Result<PassTimes> part(int first_layer, int last_layer, bool embedding, bool head, Recompute recompute,
                         PartParameters& parameters) {
    MOESIM_ASSIGN(Piece piece, lower_piece(first_layer, last_layer, embedding, head, recompute));
    parameters = parameters_of(piece.chunk);
    return times(piece, LayerId());
  }

  // The same for a layer; pieces of one kind are lowered once.
  Result<PassTimes> layer(int index, Recompute recompute, PartParameters& parameters) {
    const std::int32_t kind = program_.model.layers[static_cast<std::size_t>(index)];
    const auto [entry, fresh] = pieces_.try_emplace({kind, static_cast<int>(recompute)});
    if (fresh) {
      MOESIM_ASSIGN(entry->second.piece, lower_piece(index, index + 1, false, false, recompute));
      entry->second.times = times(entry->second.piece, LayerId());
    }
    parameters = parameters_of(entry->second.piece.chunk);
    const bool varies = program_.model.layer(LayerId(index)).moe && !program_.loads->balanced;
    return varies ? times(entry->second.piece, LayerId(index)) : entry->second.times;
  }

 private:
  [[nodiscard]] double rate_of(int device) const {
    return costs_.view().devices()[static_cast<std::size_t>(device)].peak(program_.recipe.compute).value();
  }

  Result<Piece> lower_piece(int first_layer, int last_layer, bool embedding, bool head, Recompute recompute) {
    program_.plan.recompute = recompute;
    Piece piece;
    piece.chunk.stage = StageId(0);
    piece.chunk.first_layer = first_layer;
    piece.chunk.last_layer = last_layer;
    piece.chunk.has_embedding = embedding;
    piece.chunk.has_head = head;
    Chunk again = piece.chunk;
    MOESIM_ASSIGN(piece.together, lower_chunk(program_.plan, program_.model, *program_.layout, program_.recipe,
                                              WeightGradients::kInline, piece.chunk));
    MOESIM_ASSIGN(piece.apart, lower_chunk(program_.plan, program_.model, *program_.layout, program_.recipe,
                                           WeightGradients::kApart, again));
    price(piece.together.forward, piece.chunk, piece.forward);
    price(piece.together.backward.input, piece.chunk, piece.backward);
    price(piece.apart.backward.input, piece.chunk, piece.input);
    price(piece.apart.backward.weight, piece.chunk, piece.weight);
    piece.backward_working = working_memory(piece);
    return piece;
  }

  // As the memory walk sees the backward pass, with the least rows that any layer has.
  std::int64_t working_memory(const Piece& piece) {
    program_.chunks = {piece.chunk};
    program_.blocks = {Block{BlockKind::kForward, 0, -1, piece.apart.forward},
                       Block{BlockKind::kBackwardInput, 0, -1, piece.apart.backward.input},
                       Block{BlockKind::kBackwardWeight, 0, -1, piece.apart.backward.weight}};
    const std::vector<CarriedTensors> carried = {CarriedTensors(program_, 0)};
    return block_memory(program_, program_.blocks[1], carried, least_rows()).peak;
  }

  LargestRows least_rows() const {
    LargestRows rows;
    const auto layers = static_cast<std::size_t>(program_.model.layer_count());
    std::int64_t routed = 0;
    std::int64_t arrived = 0;
    for (int layer = 0; group_ && layer < program_.loads->moe_layers; ++layer) {
      std::int64_t most = 0;
      for (int i = 0; i < group_->ep(); ++i) most = std::max(most, group_->arrived_shards(layer, 0, i));
      arrived = layer == 0 ? most : std::min(arrived, most);
      const std::int64_t sent = group_->routed(layer, 0, 0, 0);
      routed = layer == 0 ? sent : std::min(routed, sent);
    }
    rows.routed.assign(layers, routed);
    rows.arrived.assign(layers, group_ && group_->esp() > 1 ? 0 : arrived);
    rows.arrived_shards.assign(layers, arrived);
    return rows;
  }

  // Both lowerings make the same tensors in the same order, so one chunk serves the operations of both.
  void price(const std::vector<Op>& ops, const Chunk& chunk, std::vector<double>& seconds) {
    seconds.clear();
    for (const Op& op : ops) seconds.push_back(pricer_->price(op, chunk, 0).time.value());
  }

  BlockSpan span(const std::vector<Op>& ops, const std::vector<double>& seconds, const Chunk& chunk, LayerId layer,
                 TensorId awaited) {
    if (!layer.valid()) return block_span(ops, seconds, awaited);
    scratch_ = seconds;
    for (std::size_t i = 0; i < ops.size(); ++i) {
      if (!depends_on_routing(ops[i], chunk)) continue;
      Op op = ops[i];
      op.layer = layer;
      scratch_[i] = pricer_->price(op, chunk, 0).time.value();
    }
    return block_span(ops, scratch_, awaited);
  }

  PassTimes times(const Piece& piece, LayerId layer) {
    PassTimes result;
    const BlockSpan forward = span(piece.together.forward, piece.forward, piece.chunk, layer, TensorId());
    const BlockSpan backward =
        span(piece.together.backward.input, piece.backward, piece.chunk, layer, piece.chunk.output_gradient);
    const BlockSpan input = span(piece.apart.backward.input, piece.input, piece.chunk, layer, piece.chunk.output_gradient);
    const BlockSpan weight = span(piece.apart.backward.weight, piece.weight, piece.chunk, layer, TensorId());
    result.forward = forward.span;
    result.forward_busy = forward.busy;
    result.backward = backward.span;
    result.backward_busy = backward.busy;
    result.forward_exchange = forward.exchange;
    result.backward_exchange = backward.exchange;
    result.backward_input = input.span;
    result.backward_weight = weight.span;
    result.backward_head_start = std::max(backward.head_start, input.head_start);
    result.backward_working = piece.backward_working;
    add_saved_bytes(piece, layer, result);
    return result;
  }

  // Tensors made by the forward pass, read by the backward pass and not made again there.
  void add_saved_bytes(const Piece& piece, LayerId layer, PassTimes& result) {
    std::vector<std::uint8_t> state(piece.chunk.tensors.size(), 0);  // 1: made; 2: made again; 4: read; 8: read by weights
    for (const Op& op : piece.apart.forward)
      for (const TensorId id : op.outputs) state[id.index()] |= 1;
    for (const Op& op : piece.apart.backward.input) {
      for (const TensorId id : op.outputs) state[id.index()] |= 2;
      for (const TensorId id : op.inputs) state[id.index()] |= 4;
    }
    for (const Op& op : piece.apart.backward.weight)
      for (const TensorId id : op.inputs) state[id.index()] |= 12;
    for (std::size_t i = 0; i < state.size(); ++i) {
      if ((state[i] & 7) != 5) continue;
      const std::int64_t bytes = largest_bytes(piece.chunk.tensors[i], layer);
      result.saved_bytes += bytes;
      if ((state[i] & 8) != 0) result.saved_for_weight += bytes;
    }
  }

  std::int64_t largest_bytes(const Tensor& tensor, LayerId layer) const {
    std::int64_t rows = tensor.rows.count;
    if (tensor.rows.source != RowSource::kFixed && group_) {
      const LayerId of = layer.valid() ? layer : tensor.layer;
      int moe = 0;
      for (int i = 0; i < of.value(); ++i) moe += program_.model.layer(LayerId(i)).moe ? 1 : 0;
      rows = 0;
      for (int i = 0; i < group_->ep(); ++i) {
        if (tensor.rows.source == RowSource::kArrivedShards || (tensor.rows.source == RowSource::kArrived && group_->esp() == 1))
          rows = std::max(rows, group_->arrived_shards(moe, 0, i));
        if (tensor.rows.source == RowSource::kRouted) rows = std::max(rows, group_->routed(moe, 0, i, 0));
      }
    }
    return storage(rows * tensor.columns * tensor.groups, tensor.type).count();
  }

  [[nodiscard]] PartParameters parameters_of(const Chunk& chunk) const {
    PartParameters sum;
    for (const Tensor& tensor : chunk.tensors) {
      if (tensor.role != TensorRole::kWeight || tensor.tied) continue;
      const bool expert = tensor.is_expert_weight();
      std::int64_t bytes = tensor.bytes().count();
      if (tensor.fp8_operand) bytes += storage(tensor.elements(), DType::kFp8).count() * program_.recipe.extra_weight_copies_fp8;
      (expert ? sum.expert : sum.dense) += tensor.elements();
      (expert ? sum.weight_bytes_expert : sum.weight_bytes_dense) += bytes;
    }
    return sum;
  }

  Program program_;
  const CostModel& costs_;
  std::optional<GroupLoads> group_;
  std::optional<EntityPricer> pricer_;
  struct KindPiece {
    Piece piece;
    PassTimes times;
  };
  std::map<std::pair<std::int32_t, int>, KindPiece> pieces_;
  std::vector<double> scratch_;
};

}  // namespace

PassTimes& PassTimes::operator+=(const PassTimes& other) {
  forward += other.forward;
  backward += other.backward;
  backward_input += other.backward_input;
  backward_weight += other.backward_weight;
  forward_busy += other.forward_busy;
  backward_busy += other.backward_busy;
  forward_exchange += other.forward_exchange;
  backward_exchange += other.backward_exchange;
  saved_bytes += other.saved_bytes;
  saved_for_weight += other.saved_for_weight;
  backward_head_start = other.backward_head_start;  // the last part is where the backward pass begins
  backward_working = other.backward_working;
  return *this;
}

PartParameters& PartParameters::operator+=(const PartParameters& other) {
  dense += other.dense;
  expert += other.expert;
  weight_bytes_dense += other.weight_bytes_dense;
  weight_bytes_expert += other.weight_bytes_expert;
  return *this;
}

Result<LayerTable> LayerTable::make(const Plan& plan, const ModelShape& model, const CostModel& costs,
                                    std::shared_ptr<const RoutedLoads> loads) {
  LayerTable table;
  table.loads_ = loads;
  TableMaker maker(plan, model, costs, std::move(loads));
  MOESIM_TRY(maker.prepare());
  table.parameters_.resize(model.layers.size());
  for (int r = 0; r < kRecomputes; ++r) {
    const auto recompute = static_cast<Recompute>(r);
    MOESIM_ASSIGN(table.embedding_[static_cast<std::size_t>(r)], maker.part(0, 0, true, false, recompute, table.embedding_parameters_));
    MOESIM_ASSIGN(table.head_[static_cast<std::size_t>(r)], maker.part(0, 0, false, true, recompute, table.head_parameters_));
    for (int layer = 0; layer < model.layer_count(); ++layer) {
      MOESIM_ASSIGN(PassTimes times, maker.layer(layer, recompute, table.parameters_[static_cast<std::size_t>(layer)]));
      table.layers_[static_cast<std::size_t>(r)].push_back(times);
    }
  }
  return table;
}

}  // namespace moesim
