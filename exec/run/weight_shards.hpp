// Which part of the model's matrices a rank holds, and the way back from shards to whole matrices.
//
// A matrix of the model has a name, a layer and (for experts) a number; a weight tensor of a chunk is made of pieces of one or
// several of them: fused columns [q heads | k heads | v heads], gated halves [gate | up] cut alike, local experts one below the
// other. Initial values follow from the coordinates in the matrix, so that all layouts start from the same model.
// Example: attention.qkv at tp 2, rank 1, 8 heads and 4 key/value heads of 16: columns 64-127 of q, 32-63 of k, 32-63 of v.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/program/program.hpp"

namespace moesim {

constexpr std::string_view kEmbeddingTable = "embedding.table";

struct MatrixId {
  std::string name;  // "attention.q"
  std::int32_t layer = -1;
  std::int32_t expert = -1;
  auto operator<=>(const MatrixId&) const = default;
};
[[nodiscard]] std::string matrix_text(const MatrixId& id);  // "experts.up of layer 3, expert 5"

struct ShardPiece {
  MatrixId matrix;
  std::int64_t local_row = 0, local_column = 0;
  std::int64_t rows = 0, columns = 0;
  std::int64_t row = 0, column = 0;  // where it begins in the matrix
  bool guest = false;                // of an expert whose home is elsewhere
  std::int64_t fan_in = 1;           // numbers that one output of the matrix sums up; 0: a norm, which starts at 1
};

// The pieces of a weight on the rank at these coordinates, where experts stand in these slots. `reader`: the operation that reads
// it (ChunkIndex). Rows and columns that pad the vocabulary belong to no piece.
[[nodiscard]] std::vector<ShardPiece> shard_pieces(const Program& program, const Tensor& weight,
                                                   std::string_view reader, const Layout::Coordinates& at,
                                                   const ExpertSlots& slots);

// About normal with a variance of 1 / fan_in; 1 for norms. Rows and columns are those of the whole matrix.
class InitialValues {
 public:
  InitialValues(std::uint64_t seed, const ShardPiece& piece);
  [[nodiscard]] float at(std::int64_t row, std::int64_t column) const;

 private:
  std::uint64_t hash_;  // of seed and matrix
  double scale_;        // 0: a norm
};

// Matrices put together from what ranks hold.
class WholeMatrices {
 public:
  struct Matrix {
    std::int64_t rows = 0, columns = 0;
    std::vector<std::vector<std::optional<float>>> values;  // by row and column; not all of a row need be there
    std::int64_t known = 0;                                 // values that are there
  };
  // Elements [begin, begin + values.size()) of a local weight with `local_columns` columns. Guests are left out: what counts is the
  // home's.
  void add(const std::vector<ShardPiece>& pieces, std::int64_t local_columns, std::int64_t begin,
           const std::vector<float>& values);
  void add(const WholeMatrices& other);
  [[nodiscard]] const std::map<MatrixId, Matrix>& matrices() const { return matrices_; }
  // The largest difference between two that gave the same element: replicas should agree.
  [[nodiscard]] double disagreement() const { return disagreement_; }

 private:
  void put(Matrix& matrix, std::int64_t row, std::int64_t column, float value);
  std::map<MatrixId, Matrix> matrices_;
  double disagreement_ = 0;
};

}  // namespace moesim
