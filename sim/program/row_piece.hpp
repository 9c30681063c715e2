// A part of the token copies that travels and is computed by itself, so that one part is exchanged while another is computed.
//
// Which copies belong to a piece follows from the counts that every rank knows, so that sender, expert and simulator agree
// without a word. Two ways to cut, both of the copies that a source has for one expert:
//   kShare     piece p of r has the p-th part of every expert's copies: the chunks along tokens or capacity of Tutel, PipeMoE,
//              ScheMoE and FSMoE. 7 copies in 3 pieces: 2, 2, 3.
//   kDistance  the EP group is cut into r runs of consecutive members; piece p has the copies that go p runs further on, the
//              exchange steps of FasterMoE's smart scheduling (laekov/fastmoe, fastermoe/smart_schedule.h): in step p a member
//              of run q sends to run (q + p) mod r and receives from run (q - p) mod r. Step 0 stays in the run.
// The pieces of a cut are disjoint and together all copies.
#pragma once

#include <compare>
#include <cstdint>

namespace moesim {

// Rows of `rows` that member `member` of `members` takes when they are shared out: 5 over 2 are 2 and 3.
[[nodiscard]] constexpr std::int64_t share_of(std::int64_t rows, int member, int members) {
  return rows * (member + 1) / members - rows * member / members;
}

enum class CutBy : std::uint8_t { kWhole, kShare, kDistance };

struct RowPiece {
  CutBy by = CutBy::kWhole;
  std::int16_t index = 0;
  std::int16_t of = 1;  // pieces in all
  auto operator<=>(const RowPiece&) const = default;
  [[nodiscard]] bool whole() const { return by == CutBy::kWhole; }
};

// Of `rows` copies from EP member `from` to an expert of EP member `to`, those in the piece. `ep` is a multiple of `of` for
// kDistance.
[[nodiscard]] constexpr std::int64_t rows_in_piece(const RowPiece& piece, std::int64_t rows, int from, int to, int ep) {
  switch (piece.by) {
    case CutBy::kWhole: return rows;
    case CutBy::kShare: return share_of(rows, piece.index, piece.of);
    case CutBy::kDistance: {
      const int run = ep / piece.of;
      return (to / run - from / run + piece.of) % piece.of == piece.index ? rows : 0;
    }
  }
  return 0;
}

}  // namespace moesim
