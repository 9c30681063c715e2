#include "exec/run/weight_shards.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.hpp"
#include "sim/plan/layer_slots.hpp"
#include "traces/random.hpp"

namespace moesim {
namespace {

// What is added to numbers of about 1 starts small: a standard deviation of 0.1.
constexpr std::int64_t kBiasFanIn = 100;

class PieceWriter {
 public:
  PieceWriter(const Program& program, const Tensor& weight, const Layout::Coordinates& at, const ExpertSlots& slots)
      : program_(program), weight_(weight), at_(at), sizes_(program.plan.sizes()), slots_(slots) {}

  std::vector<ShardPiece> pieces(std::string_view reader) {
    const std::string_view name = weight_.name;
    if (name == kEmbeddingTable || weight_.transposed) {
      vocabulary(kEmbeddingTable, Cut::kRows);
    } else if (name == "head.logits") {
      vocabulary(name, Cut::kColumns);
    } else if (name == "gate.correction_bias") {
      whole(name, kBiasFanIn);
    } else if (name == "norm.weight") {
      whole(reader, 0);
    } else if (name == "attention.head_norm") {
      head_norms(reader);
    } else if (name == "attention.qkv" || name == "attention.q" || name == "attention.kv") {
      attention_columns(name);
    } else if (name == "attention.out") {
      rows_of_tp(name);
    } else if (name == "gate.router") {
      whole(name, weight_.rows.count);
    } else if (name == "ffn.up" || name == "shared.up") {
      raised(name, -1, at_.tp, sizes_.tp, name == "ffn.up" ? layer().dense->gated : layer().moe->shared.gated, 0);
    } else if (name == "ffn.down" || name == "shared.down") {
      rows_of_tp(name);
    } else if (name == "experts.up" || name == "experts.down") {
      experts(name);
    } else {
      MOESIM_ASSERT(!"a weight that check_executable should have refused");
    }
    return std::move(pieces_);
  }

 private:
  enum class Cut { kRows, kColumns };

  [[nodiscard]] const LayerShape& layer() const { return program_.model.layer(weight_.layer); }
  ShardPiece& add(std::string_view name, std::int32_t expert = -1) {
    ShardPiece piece;
    piece.matrix = {std::string(name), weight_.layer.valid() ? weight_.layer.value() : -1, expert};
    piece.rows = weight_.rows.count;
    piece.columns = weight_.columns;
    pieces_.push_back(std::move(piece));
    return pieces_.back();
  }

  void whole(std::string_view name, std::int64_t fan_in) { add(name).fan_in = fan_in; }

  void vocabulary(std::string_view name, Cut cut) {
    ShardPiece& piece = add(name);
    std::int64_t& local = cut == Cut::kRows ? piece.rows : piece.columns;
    std::int64_t& first = cut == Cut::kRows ? piece.row : piece.column;
    first = at_.tp * local;
    local = std::clamp<std::int64_t>(program_.model.vocab - first, 0, local);
    const bool embeds_only = cut == Cut::kRows && !program_.model.tied_embeddings;
    piece.fan_in = embeds_only ? 1 : program_.model.hidden;
  }

  void rows_of_tp(std::string_view name) {
    ShardPiece& piece = add(name);
    piece.row = at_.tp * piece.rows;
    piece.fan_in = piece.rows * sizes_.tp;
  }

  // Columns [local, local + count) are the rank's share of a matrix that TP cuts into even parts.
  void columns_of_tp(std::string_view name, std::int64_t local, std::int64_t count, int copies) {
    ShardPiece& piece = add(name);
    piece.local_column = local;
    piece.columns = count;
    piece.column = at_.tp / copies * count;
    piece.fan_in = piece.rows;
  }

  void attention_columns(std::string_view name) {
    const AttentionShape& shape = layer().attention;
    const std::int64_t q = shape.heads / sizes_.tp * shape.head_dim;
    const std::int64_t kv_heads = std::max<std::int64_t>(1, shape.kv_heads / sizes_.tp);
    std::int64_t next = 0;
    const auto take = [&](std::string_view matrix, std::int64_t count, int copies) {
      columns_of_tp(matrix, next, count, copies);
      next += count;
    };
    if (name != "attention.kv") take("attention.q", q, 1);
    if (name == "attention.q") return;
    take("attention.k", kv_heads * shape.head_dim, weight_.tp_copies);
    take("attention.v", kv_heads * shape.value_head_dim, weight_.tp_copies);
  }

  void head_norms(std::string_view reader) {
    const AttentionShape& shape = layer().attention;
    const std::int64_t q = shape.qk_norm_wide ? shape.heads * shape.head_dim : shape.head_dim;
    const std::int64_t k = shape.qk_norm_wide ? shape.kv_heads * shape.head_dim : shape.head_dim;
    std::int64_t next = 0;
    const auto take = [&](std::string_view matrix, std::int64_t count) {
      ShardPiece& piece = add(matrix);
      piece.local_column = next;
      piece.columns = count;
      piece.fan_in = 0;
      next += count;
    };
    if (reader != "attention.rotary_kv") take("attention.q_norm", q);
    if (reader != "attention.rotary_q") take("attention.k_norm", k);
  }

  // [gate | up], or up alone, of part `part` of `parts` of a feed-forward block's width.
  void raised(std::string_view name, std::int32_t expert, int part, int parts, bool gated, std::int64_t local_row) {
    const std::int64_t width = gated ? weight_.columns / 2 : weight_.columns;
    for (std::int64_t half = 0; half < (gated ? 2 : 1); ++half) {
      ShardPiece& piece = add(name, expert);
      piece.local_row = local_row;
      piece.local_column = half * width;
      piece.columns = width;
      piece.column = (half * parts + part) * width;
      piece.fan_in = piece.rows;
    }
  }

  void experts(std::string_view name) {
    const LayerSlots slots(slots_, program_.model.moe_layers_before(weight_.layer), layer().moe->experts, sizes_.ep);
    for (std::int64_t local = 0; local < weight_.groups; ++local) {
      const std::int64_t slot = at_.ep * weight_.groups + local;
      const std::int32_t expert = slots.expert(slot);
      if (expert == kNoExpert) continue;
      const std::size_t first = pieces_.size();
      const std::int64_t local_row = local * weight_.rows.count;
      if (name == "experts.up") {
        raised(name, expert, at_.esp, sizes_.esp, layer().moe->expert.gated, local_row);
      } else {
        ShardPiece& piece = add(name, expert);
        piece.local_row = local_row;
        piece.row = at_.esp * piece.rows;
        piece.fan_in = piece.rows * sizes_.esp;
      }
      for (std::size_t i = first; i < pieces_.size(); ++i) pieces_[i].guest = slots.is_guest(slot);
    }
  }

  const Program& program_;
  const Tensor& weight_;
  const Layout::Coordinates& at_;
  const ParallelSizes& sizes_;
  const ExpertSlots& slots_;
  std::vector<ShardPiece> pieces_;
};

std::uint64_t hash_of(std::uint64_t seed, const MatrixId& id) {
  std::uint64_t hash = splitmix64(seed);
  for (const char c : id.name) hash = splitmix64(hash ^ static_cast<unsigned char>(c));
  hash = splitmix64(hash ^ static_cast<std::uint32_t>(id.layer));
  return splitmix64(hash ^ static_cast<std::uint32_t>(id.expert));
}

}  // namespace

std::string matrix_text(const MatrixId& id) {
  std::string text = id.name;
  if (id.layer >= 0) text += fmt::format(" of layer {}", id.layer);
  if (id.expert >= 0) text += fmt::format(", expert {}", id.expert);
  return text;
}

std::vector<ShardPiece> shard_pieces(const Program& program, const Tensor& weight, std::string_view reader,
                                     const Layout::Coordinates& at, const ExpertSlots& slots) {
  return PieceWriter(program, weight, at, slots).pieces(reader);
}

// The sum of four numbers, uniform in [0, 1), has mean 2 and variance 4 / 12.
InitialValues::InitialValues(std::uint64_t seed, const ShardPiece& piece)
    : hash_(hash_of(seed, piece.matrix)),
      scale_(piece.fan_in == 0 ? 0 : std::sqrt(3.0 / static_cast<double>(piece.fan_in))) {}

float InitialValues::at(std::int64_t row, std::int64_t column) const {
  if (scale_ == 0) return 1.0F;
  std::uint64_t hash = splitmix64(hash_ ^ static_cast<std::uint64_t>(row));
  hash = splitmix64(hash ^ static_cast<std::uint64_t>(column));
  double sum = 0;
  for (int i = 0; i < 4; ++i) sum += static_cast<double>((hash >> (16 * i)) & 0xFFFFU) / 65536.0;
  return static_cast<float>((sum - 2.0) * scale_);
}

void WholeMatrices::put(Matrix& matrix, std::int64_t row, std::int64_t column, float value) {
  matrix.rows = std::max(matrix.rows, row + 1);
  matrix.columns = std::max(matrix.columns, column + 1);
  if (std::ssize(matrix.values) <= row) matrix.values.resize(static_cast<std::size_t>(row) + 1);
  auto& columns = matrix.values[static_cast<std::size_t>(row)];
  if (std::ssize(columns) <= column) columns.resize(static_cast<std::size_t>(column) + 1);
  std::optional<float>& place = columns[static_cast<std::size_t>(column)];
  if (place) {
    disagreement_ = std::max(disagreement_, std::abs(static_cast<double>(*place) - value));
    return;
  }
  place = value;
  ++matrix.known;
}

void WholeMatrices::add(const std::vector<ShardPiece>& pieces, std::int64_t local_columns, std::int64_t begin,
                        const std::vector<float>& values) {
  const std::int64_t end = begin + static_cast<std::int64_t>(values.size());
  for (const ShardPiece& piece : pieces) {
    if (piece.guest) continue;
    Matrix& matrix = matrices_[piece.matrix];
    for (std::int64_t r = 0; r < piece.rows; ++r)
      for (std::int64_t c = 0; c < piece.columns; ++c) {
        const std::int64_t flat = (piece.local_row + r) * local_columns + piece.local_column + c;
        if (flat >= begin && flat < end)
          put(matrix, piece.row + r, piece.column + c, values[static_cast<std::size_t>(flat - begin)]);
      }
  }
}

void WholeMatrices::add(const WholeMatrices& other) {
  disagreement_ = std::max(disagreement_, other.disagreement_);
  for (const auto& [id, matrix] : other.matrices_) {
    Matrix& mine = matrices_[id];
    for (std::size_t r = 0; r < matrix.values.size(); ++r)
      for (std::size_t c = 0; c < matrix.values[r].size(); ++c)
        if (const std::optional<float>& value = matrix.values[r][c])
          put(mine, static_cast<std::int64_t>(r), static_cast<std::int64_t>(c), *value);
  }
}

}  // namespace moesim
