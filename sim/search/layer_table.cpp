#include "sim/search/layer_table.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "sim/engine/entity_pricer.hpp"
#include "sim/lower/grad_sync.hpp"
#include "sim/lower/lower_chunk.hpp"
#include "sim/memory/block_memory.hpp"

namespace moesim {
class TableMaker {
  // A pass of a lowered piece, and where its graph stands in the table.
  struct PricedPass {
    struct Routed {
      std::size_t op;
      std::vector<double>* seconds;  // by layer
    };
    std::vector<Op> ops;
    std::vector<double> seconds;
    std::vector<Routed> routed;  // the operations that depend on the gate
    std::uint32_t graph = 0;
  };

  // A lowered piece of the model with its priced operations; MoE layers of one kind share it and price again what depends on
  // their loads.
  struct Piece {
    Chunk chunk;
    PricedPass forward, backward;  // weight gradients inline
    PricedPass input, weight;      // and apart
    std::int64_t backward_working = 0;
  };

 public:
  TableMaker(const Plan& plan, std::shared_ptr<const Layout> layout, const ModelShape& model, const CostModel& costs,
             RoutingPrices& routing, LayerTable& table)
      : costs_(costs), routing_(routing), table_(table), drag_(communication_drag(costs, plan)) {
    program_.plan = plan;
    program_.model = model;
    program_.layout = std::move(layout);
    program_.loads = routing.loads();
  }

  Status prepare() {
    MOESIM_ASSIGN(program_.recipe, find_precision(program_.plan.precision));
    // A bound must hold on the fastest device of a mixed cluster.
    int device = 0;
    for (int d = 1; d < static_cast<int>(costs_.view().devices().size()); ++d)
      if (rate_of(d) > rate_of(device)) device = d;
    pricer_.emplace(program_, costs_, routing_.ranks(), routing_.pieces(), std::nullopt, 0, device);
    return {};
  }

  Status embedding(Recompute recompute) {
    const auto r = static_cast<std::size_t>(recompute);
    MOESIM_ASSIGN(const Piece piece, lower_piece(0, 0, true, false, recompute));
    table_.embedding_parameters_ = parameters_of(piece.chunk);
    table_.embedding_[r] = times(piece, LayerId(), table_.embedding_parts_[r]);
    return {};
  }

  Status head(Recompute recompute) {
    const auto r = static_cast<std::size_t>(recompute);
    MOESIM_ASSIGN(const Piece piece, lower_piece(0, 0, false, true, recompute));
    table_.head_parameters_ = parameters_of(piece.chunk);
    table_.head_[r] = times(piece, LayerId(), table_.head_parts_[r]);
    return {};
  }

  // Pieces of one kind are lowered once.
  Status layers(Recompute recompute) {
    const auto r = static_cast<std::size_t>(recompute);
    std::map<std::int32_t, KindPiece> pieces;
    for (int index = 0; index < program_.model.layer_count(); ++index) {
      const auto [entry, fresh] = pieces.try_emplace(program_.model.layers[static_cast<std::size_t>(index)]);
      KindPiece& kind = entry->second;
      if (fresh) {
        MOESIM_ASSIGN(kind.piece, lower_piece(index, index + 1, false, false, recompute));
        kind.times = times(kind.piece, LayerId(), kind.parts);
        kind.parameters = parameters_of(kind.piece.chunk);
      }
      table_.parameters_[static_cast<std::size_t>(index)] = kind.parameters;
      const bool varies = program_.model.layer(LayerId(index)).moe && !program_.loads->balanced;
      LayerTable::StoredParts parts = kind.parts;
      table_.layers_[r].push_back(varies ? times(kind.piece, LayerId(index), parts) : kind.times);
      table_.layer_parts_[r].push_back(parts);
    }
    return {};
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
    // Both lowerings make the same tensors in the same order, so one chunk serves the operations of both.
    Chunk again = piece.chunk;
    MOESIM_ASSIGN(ChunkOps together, lower_chunk(program_.plan, program_.model, *program_.layout, program_.recipe,
                                                 WeightGradients::kInline, piece.chunk));
    MOESIM_ASSIGN(ChunkOps apart, lower_chunk(program_.plan, program_.model, *program_.layout, program_.recipe,
                                              WeightGradients::kApart, again));
    take_least_pieces(piece.chunk);
    const TensorId gradient = piece.chunk.output_gradient;
    piece.forward = priced(std::move(together.forward), piece.chunk, TensorId());
    piece.backward = priced(std::move(together.backward.input), piece.chunk, gradient);
    piece.input = priced(std::move(apart.backward.input), piece.chunk, gradient);
    piece.weight = priced(std::move(apart.backward.weight), piece.chunk, TensorId());
    piece.backward_working = working_memory(piece);
    return piece;
  }

  // Of copies that are cut into shares the first share has the fewest, for every source and expert: rounded down, where others
  // may be rounded up (row_piece.hpp). Bounds take it for all of them, and price it once.
  static void take_least_pieces(Chunk& chunk) {
    for (Tensor& tensor : chunk.tensors)
      if (tensor.rows.piece.by == CutBy::kShare) tensor.rows.piece.index = 0;
  }

  // As the memory walk sees the backward pass, with the least rows that any layer has.
  std::int64_t working_memory(const Piece& piece) {
    program_.chunks = {piece.chunk};
    program_.blocks = {Block{BlockKind::kForward, 0, -1, piece.forward.ops},
                       Block{BlockKind::kBackwardInput, 0, -1, piece.input.ops},
                       Block{BlockKind::kBackwardWeight, 0, -1, piece.weight.ops}};
    const std::vector<CarriedTensors> carried = {CarriedTensors(program_, 0)};
    return block_memory(program_, program_.blocks[1], carried, least_rows()).peak;
  }

  // The least that any layer has of what its busiest rank computes and the first rank sends.
  LargestRows least_rows() {
    LargestRows rows;
    const auto layers = static_cast<std::size_t>(program_.model.layer_count());
    rows.esp = program_.plan.sizes().esp;
    for (const RowPiece& piece : pieces_of(program_.chunks)) {
      LayerRows least;
      for (int layer = 0; routing_.group() != nullptr && layer < program_.loads->moe_layers; ++layer) {
        const GroupLoads& loads = routing_.loads_of(piece);
        LayerRows of_layer{loads.gated(layer, 0, 0, 0), loads.routed(layer, 0, 0, 0), 0, 0, loads.visits(layer, 0, 0)};
        for (int i = 0; i < loads.ep(); ++i)
          of_layer.arrived_shards = std::max(of_layer.arrived_shards, loads.arrived_shards(layer, 0, i));
        if (loads.esp() == 1) of_layer.arrived = of_layer.arrived_shards;
        if (layer == 0) least = of_layer;
        least.gated = std::min(least.gated, of_layer.gated);
        least.routed = std::min(least.routed, of_layer.routed);
        least.arrived = std::min(least.arrived, of_layer.arrived);
        least.arrived_shards = std::min(least.arrived_shards, of_layer.arrived_shards);
        least.visits = least_of(least.visits, of_layer.visits);
      }
      rows.of_piece[piece].assign(layers, least);
    }
    return rows;
  }

  PricedPass priced(std::vector<Op> ops, const Chunk& chunk, TensorId awaited) {
    PricedPass pass;
    for (std::size_t i = 0; i < ops.size(); ++i) {
      const bool routed = ops[i].layer.valid() && depends_on_routing(ops[i], chunk);
      if (routed) pass.routed.push_back({i, &routing_.seconds(ops[i], chunk, program_.model.layer_count())});
      pass.seconds.push_back(routed ? seconds_of(pass.routed.back(), ops, chunk, ops[i].layer)
                                    : pricer_->price(ops[i], chunk, 0).time.value());
    }
    pass.graph = static_cast<std::uint32_t>(table_.graphs_.size());
    table_.graphs_.emplace_back(ops, awaited);
    pass.ops = std::move(ops);
    return pass;
  }

  double seconds_of(const PricedPass::Routed& routed, const std::vector<Op>& ops, const Chunk& chunk, LayerId layer) {
    double& known = (*routed.seconds)[layer.index()];
    if (known >= 0) return known;
    Op op = ops[routed.op];
    op.layer = layer;
    return known = pricer_->price(op, chunk, 0).time.value();
  }

  // Stores the seconds of the pass for this layer (of its own, where it has none) and plays it.
  BlockSpan span(const PricedPass& pass, const Chunk& chunk, LayerId layer, LayerTable::StoredPart& stored) {
    scratch_ = pass.seconds;
    if (layer.valid())
      for (const PricedPass::Routed& routed : pass.routed)
        scratch_[routed.op] = seconds_of(routed, pass.ops, chunk, layer);
    const SpanGraph& graph = table_.graphs_[pass.graph];
    stored = {pass.graph, static_cast<std::uint32_t>(table_.seconds_.size())};
    table_.seconds_.resize(table_.seconds_.size() + graph.size());
    graph.fold(scratch_, std::span(table_.seconds_).subspan(stored.seconds));
    return player_.play({&graph, table_.seconds_.data() + stored.seconds}, drag_);
  }

  PassTimes times(const Piece& piece, LayerId layer, LayerTable::StoredParts& stored) {
    PassTimes result;
    const BlockSpan backward = span(piece.backward, piece.chunk, layer, stored.backward);
    result.backward_weight = span(piece.weight, piece.chunk, layer, stored.backward_weight).span;
    const BlockSpan forward = span(piece.forward, piece.chunk, layer, stored.forward);
    result.forward = forward.span;
    result.forward_busy = forward.busy;
    result.backward_busy = backward.busy;
    const BlockSpan input = span(piece.input, piece.chunk, layer, stored.backward_input);
    result.backward = backward.span;
    result.backward_input = input.span;
    result.backward_head_start = std::max(backward.head_start, input.head_start);
    result.backward_working = piece.backward_working;
    add_saved_bytes(piece, layer, result);
    return result;
  }

  // Tensors made by the forward pass, read by the backward pass and not made again there; and those that the weight
  // gradients read, of these and of what the input gradients made.
  void add_saved_bytes(const Piece& piece, LayerId layer, PassTimes& result) {
    std::vector<std::uint8_t> state(piece.chunk.tensors.size(),
                                    0);  // 1: made; 2: made again; 4: read; 8: read by weights
    for (const Op& op : piece.forward.ops)
      for (const TensorId id : op.outputs) state[id.index()] |= 1;
    for (const Op& op : piece.input.ops) {
      for (const TensorId id : op.outputs) state[id.index()] |= 2;
      for (const TensorId id : op.inputs) state[id.index()] |= 4;
    }
    for (const Op& op : piece.weight.ops)
      for (const TensorId id : op.inputs) state[id.index()] |= 12;
    for (std::size_t i = 0; i < state.size(); ++i) {
      const bool saved = (state[i] & 7) == 5;
      const bool kept = (state[i] & 8) != 0 && (saved || (state[i] & 2) != 0);
      if (!saved && !kept) continue;
      const std::int64_t bytes = largest_bytes(piece.chunk.tensors[i], layer);
      if (saved) result.saved_bytes += bytes;
      if (kept) result.kept_for_weight += bytes;
    }
  }

  // Of shards the first counts alone, and of what arrives at one of several nothing: a lower bound.
  std::int64_t largest_bytes(const Tensor& tensor, LayerId layer) {
    std::int64_t rows = tensor.rows.count;
    if (tensor.rows.source != RowSource::kFixed && routing_.group() != nullptr) {
      const LayerId of = layer.valid() ? layer : tensor.layer;
      const int moe = program_.model.moe_layers_before(of);
      const GroupLoads& loads = routing_.loads_of(tensor.rows.piece);
      rows = 0;
      for (int i = 0; i < loads.ep(); ++i) {
        if (tensor.rows.source == RowSource::kArrivedShards ||
            (tensor.rows.source == RowSource::kArrived && loads.esp() == 1))
          rows = std::max(rows, loads.arrived_shards(moe, 0, i));
        if (tensor.rows.source == RowSource::kGated) rows = std::max(rows, loads.gated(moe, 0, i, 0));
        if (tensor.rows.source == RowSource::kRouted) rows = std::max(rows, loads.routed(moe, 0, i, 0));
        if (tensor.rows.source == RowSource::kRoutedShards)
          rows = std::max(rows, loads.routed(moe, 0, i, 0) * loads.esp());
        rows = std::max(rows, loads.visits(moe, 0, i).of(tensor.rows.source));
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
      if (tensor.fp8_operand)
        bytes += storage(tensor.elements(), DType::kFp8).count() * program_.recipe.extra_weight_copies_fp8;
      (expert ? sum.expert : sum.dense) += tensor.elements();
      (expert ? sum.weight_bytes_expert : sum.weight_bytes_dense) += bytes;
    }
    return sum;
  }

  struct KindPiece {
    Piece piece;
    PassTimes times;
    LayerTable::StoredParts parts;
    PartParameters parameters;
  };

  Program program_;
  const CostModel& costs_;
  RoutingPrices& routing_;
  LayerTable& table_;
  double drag_;
  std::optional<EntityPricer> pricer_;
  SpanPlayer player_;
  std::vector<double> scratch_;
};

double communication_drag(const CostModel& costs, const Plan& plan) {
  double slowdown = costs.compute_slowdown_beside_communication(0);
  for (int device = 1; device < static_cast<int>(costs.view().devices().size()); ++device)
    slowdown = std::min(slowdown, costs.compute_slowdown_beside_communication(device));
  const double drag = 1 - 1 / slowdown;
  return plan.comm_sm_share > 0 ? std::min(drag, plan.comm_sm_share) : drag;
}

PassTimes& PassTimes::operator+=(const PassTimes& other) {
  forward += other.forward;
  backward += other.backward;
  backward_input += other.backward_input;
  backward_weight += other.backward_weight;
  forward_busy += other.forward_busy;
  backward_busy += other.backward_busy;
  saved_bytes += other.saved_bytes;
  kept_for_weight += other.kept_for_weight;
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

Result<LayerTable> LayerTable::make(const Plan& plan, std::shared_ptr<const Layout> layout, const ModelShape& model,
                                    const CostModel& costs, RoutingPrices& routing) {
  LayerTable table;
  table.loads_ = routing.own();
  table.parameters_.resize(model.layers.size());
  TableMaker maker(plan, std::move(layout), model, costs, routing, table);
  MOESIM_TRY(maker.prepare());
  for (int r = 0; r < kRecomputes; ++r) {
    const auto recompute = static_cast<Recompute>(r);
    MOESIM_TRY(maker.embedding(recompute));
    MOESIM_TRY(maker.head(recompute));
    MOESIM_TRY(maker.layers(recompute));
  }
  return table;
}

}  // namespace moesim
