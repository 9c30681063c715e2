// A part of the token copies that travels and is computed by itself, so that one part is exchanged while another is computed.
//
// Which copies belong to a piece follows from the counts that every rank knows, so that sender, expert and simulator agree
// without a word. The ways to cut the copies that a source has for one expert:
//   kShare     piece p of r has the p-th part of every expert's copies: the chunks along tokens or capacity of Tutel, PipeMoE,
//              ScheMoE and FSMoE. 7 copies in 3 pieces: 2, 2, 3.
//   kDistance  the EP group is cut into r runs of consecutive members; piece p has the copies that go p runs further on, the
//              exchange steps of FasterMoE's smart scheduling (laekov/fastmoe, fastermoe/smart_schedule.h): in step p a member
//              of run q sends to run (q + p) mod r and receives from run (q - p) mod r. Step 0 stays in the run.
//              Copies for shadowed experts are in none of these pieces.
//   kShadow    the copies for shadowed experts, which stay: every member of the EP group has the weights of these experts for a while
//              (kFetchExperts) and computes its own copies. Of a layer's list of shadowed experts piece p of r has the p-th part.
// The pieces of a cut are disjoint and together all copies; a cut by distance of a layer with shadowed experts is made whole by one
// of kShadow.
#pragma once

#include <compare>
#include <cstdint>

namespace moesim {

// Rows of `rows` that member `member` of `members` takes when they are shared out: 5 over 2 are 2 and 3.
[[nodiscard]] constexpr std::int64_t share_of(std::int64_t rows, int member, int members) {
  return rows * (member + 1) / members - rows * member / members;
}

// Of `rows` copies that one source has for an expert those that go to number `slot` of the `slots` that hold it (layer_slots.hpp). The
// rest of the division falls to later slots, and for the next source, by `turn`, to others. 5 over 2 are 2 and 3 at turn 0, 3 and 2 at
// turn 1.
[[nodiscard]] constexpr std::int64_t dealt_rows(std::int64_t rows, int slot, int slots, int turn) {
  return share_of(rows, (slot + turn) % slots, slots);
}

enum class CutBy : std::uint8_t { kWhole, kShare, kDistance, kShadow };

struct RowPiece {
  CutBy by = CutBy::kWhole;
  std::int16_t index = 0;
  std::int16_t of = 1;  // pieces in all
  auto operator<=>(const RowPiece&) const = default;
  [[nodiscard]] bool whole() const { return by == CutBy::kWhole; }
};

// The place of an expert in the list of its layer's shadowed ones, which has `of` entries.
struct ShadowPlace {
  int index = -1;  // -1: it is not in it
  int of = 0;
  [[nodiscard]] bool shadowed() const { return index >= 0; }
};

// Of `rows` copies from EP member `from` to an expert of EP member `to`, those in the piece. `ep` is a multiple of `of` for
// kDistance.
[[nodiscard]] constexpr std::int64_t rows_in_piece(const RowPiece& piece, std::int64_t rows, int from, int to, int ep,
                                                   const ShadowPlace& shadow) {
  switch (piece.by) {
    case CutBy::kWhole: return rows;
    case CutBy::kShare: return share_of(rows, piece.index, piece.of);
    case CutBy::kDistance: {
      if (shadow.index >= 0) return 0;
      const int run = ep / piece.of;
      return (to / run - from / run + piece.of) % piece.of == piece.index ? rows : 0;
    }
    case CutBy::kShadow: {
      const bool inside =
          shadow.index >= shadow.of * piece.index / piece.of && shadow.index < shadow.of * (piece.index + 1) / piece.of;
      return inside ? rows : 0;
    }
  }
  return 0;
}

// The same of an expert that is not shadowed.
[[nodiscard]] constexpr std::int64_t rows_in_piece(const RowPiece& piece, std::int64_t rows, int from, int to, int ep) {
  return rows_in_piece(piece, rows, from, to, ep, ShadowPlace{});
}

}  // namespace moesim
