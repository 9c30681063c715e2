// Pieces of token copies: disjoint, together all copies, and the same for all who count them.
#include "sim/program/row_piece.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "sim/program/group_loads.hpp"

namespace moesim {
namespace {

using testing::ElementsAre;

RowPiece piece(CutBy by, int index, int of) {
  return {by, static_cast<std::int16_t>(index), static_cast<std::int16_t>(of)};
}

// The worked examples of the header.
TEST(RowPiece, SharesOfSevenCopies) {
  EXPECT_EQ(rows_in_piece(piece(CutBy::kShare, 0, 3), 7, 0, 1, 4), 2);
  EXPECT_EQ(rows_in_piece(piece(CutBy::kShare, 1, 3), 7, 0, 1, 4), 2);
  EXPECT_EQ(rows_in_piece(piece(CutBy::kShare, 2, 3), 7, 0, 1, 4), 3);
  EXPECT_EQ(rows_in_piece({}, 7, 0, 1, 4), 7);
}

// Four members in two runs {0, 1} and {2, 3}: what stays in the run goes first.
TEST(RowPiece, DistanceBetweenRuns) {
  for (int from = 0; from < 4; ++from)
    for (int to = 0; to < 4; ++to) {
      const bool far = from / 2 != to / 2;
      EXPECT_EQ(rows_in_piece(piece(CutBy::kDistance, 0, 2), 5, from, to, 4), far ? 0 : 5) << from << ' ' << to;
      EXPECT_EQ(rows_in_piece(piece(CutBy::kDistance, 1, 2), 5, from, to, 4), far ? 5 : 0) << from << ' ' << to;
    }
}

// In step p a member of run q receives from run q - p: of six members in three runs, member 0 gets in step 1 what run 2 sends.
TEST(RowPiece, AStepReceivesFromTheRunThatManyBefore) {
  EXPECT_EQ(rows_in_piece(piece(CutBy::kDistance, 1, 3), 5, 4, 0, 6), 5);
  EXPECT_EQ(rows_in_piece(piece(CutBy::kDistance, 1, 3), 5, 2, 0, 6), 0);
  EXPECT_EQ(rows_in_piece(piece(CutBy::kDistance, 2, 3), 5, 2, 0, 6), 5);
}

TEST(RowPiece, PiecesAreDisjointAndTogetherAllCopies) {
  for (const CutBy by : {CutBy::kShare, CutBy::kDistance})
    for (const int of : {1, 2, 4, 8})
      for (int from = 0; from < 8; ++from)
        for (int to = 0; to < 8; ++to)
          for (const std::int64_t rows : {0, 1, 5, 4096}) {
            std::int64_t sum = 0;
            for (int index = 0; index < of; ++index) {
              const std::int64_t part = rows_in_piece(piece(by, index, of), rows, from, to, 8);
              EXPECT_GE(part, 0);
              sum += part;
            }
            EXPECT_EQ(sum, rows);
          }
}

// Two sources that are repeated by four ranks; four experts, one on each.
RoutedLoads four_experts() {
  RoutedLoads loads;
  loads.moe_layers = 1;
  loads.sources = 2;
  loads.experts = 4;
  loads.top_k = 2;
  loads.tokens_per_source = 5;
  loads.balanced = false;
  loads.counts = {4, 1, 3, 2, 1, 5, 0, 4};
  return loads;
}

TEST(RowPiece, LoadsOfAShare) {
  const RoutedLoads loads = four_experts();
  const GroupLoads whole(loads, {0, 1, 0, 1}, 4, 1);
  const GroupLoads second = whole.cut(piece(CutBy::kShare, 1, 2));
  // Halves of 4 1 3 2 and 1 5 0 4, the larger part last: 2 1 2 1 and 1 3 0 2.
  std::vector<std::int64_t> matrix;
  second.send_matrix(0, 0, 0, matrix);
  EXPECT_THAT(matrix, ElementsAre(2, 1, 2, 1, 1, 3, 0, 2, 2, 1, 2, 1, 1, 3, 0, 2));
  EXPECT_THAT(second.expert_rows(0, 0, 1), ElementsAre(8));
  EXPECT_EQ(second.routed(0, 0, 1, 0), 6);
}

TEST(RowPiece, LoadsOfADistanceDependOnWhereASourceStands) {
  const RoutedLoads loads = four_experts();
  const GroupLoads whole(loads, {0, 1, 0, 1}, 4, 1);
  const GroupLoads near = whole.cut(piece(CutBy::kDistance, 0, 2));
  std::vector<std::int64_t> matrix;
  near.send_matrix(0, 0, 0, matrix);
  EXPECT_THAT(matrix, ElementsAre(4, 1, 0, 0, 1, 5, 0, 0, 0, 0, 3, 2, 0, 0, 0, 4));
}

TEST(RowPiece, LoadsOfAllPiecesAreThoseOfTheWhole) {
  const RoutedLoads loads = four_experts();
  const GroupLoads whole(loads, {0, 1, 1, 0}, 2, 2);
  for (const CutBy by : {CutBy::kShare, CutBy::kDistance}) {
    PieceLoads pieces(whole);
    for (int i = 0; i < 2; ++i) {
      std::int64_t arrived = 0;
      for (int index = 0; index < 2; ++index) arrived += pieces.of(piece(by, index, 2)).arrived_shards(0, 0, i);
      EXPECT_EQ(arrived, whole.arrived_shards(0, 0, i));
      for (int j = 0; j < 2; ++j) {
        std::int64_t routed = 0;
        std::int64_t reached = 0;
        for (int index = 0; index < 2; ++index) {
          routed += pieces.of(piece(by, index, 2)).routed(0, 0, i, j);
          reached += pieces.of(piece(by, index, 2)).arrived(0, 0, i, j);
        }
        EXPECT_EQ(routed, whole.routed(0, 0, i, j));
        EXPECT_EQ(reached, whole.arrived(0, 0, i, j));
      }
    }
  }
}

}  // namespace
}  // namespace moesim
