// Parm's cost model of one MoE layer and its choice between the schedules S1 and S2 (INFOCOM 2024, arXiv 2407.00599; the
// equations as reconstructed from the operations of each schedule, for the paper's text of them was not to be had).
//
// Symbols of the paper: N_MP ranks hold the same n = B * L * M input elements, each expert is cut into N_ESP shards, a rank's
// dispatch buffer has D = k * f * n elements; x = N_ESP * D / N_MP is what a rank of S1 and S2 exchanges over all ranks.
//
//   t_base = AG_esp(N_ESP n) + 2 A2A_ep(N_ESP D) + AR_esp(N_ESP D) + experts(C)
//   t_S1   = 2 A2A_all(x) + AG_mp(n) + experts(C / N_MP)
//   t_S2   = A2A_all(x) + SAA(x, D) + experts(C / N_MP)
//   backward: experts twice and the same collectives, of which S1's gather becomes one of the input's gradient. The baseline's sum
//   of the shards becomes a gather, AG_esp(N_ESP n), and its gather a sum: a reduce-scatter, RS_esp(N_ESP n), or, as Megatron's
//   row-parallel experts do it, AR_esp(N_ESP D) before the exchange (ShardSum). Which of them the paper has is not known.
// Groups of one rank cost nothing: no gather with N_MP = 1, no ESP collectives with N_ESP = 1.
// The rule picks the schedule with the smaller time, S1 when they are equal.
//
// Worked, bytes for elements, alpha 0, A2A 3 s/B, AG 1, AR 2, experts 1 per multiply-add, N_MP = N_ESP = 2, n = 10, D = 20,
// C = 40: t_base = 20 + 2*120 + 80 + 40 = 380 s, t_S1 = 2*60 + 10 + 20 = 150 s.
#pragma once

#include <cstdint>

#include "base/units.hpp"
#include "models/cost/closed/linear_time.hpp"

namespace moesim {

struct ParmLayer {
  int mp = 1;
  int esp = 1;
  Bytes input;               // n, of one rank
  Bytes dispatched;          // D, of one rank
  double multiply_adds = 0;  // C: of a rank's experts over the baseline's tokens, forward
  [[nodiscard]] double exchanged() const { return static_cast<double>(esp) * dispatched.value() / mp; }  // x
};

struct ParmCosts {
  LinearTime all_to_all_ep;       // over EP, of the buffer
  LinearTime all_to_all_all;      // over EP x ESP
  LinearTime gather_mp;           // over MP, of the gathered size
  LinearTime gather_esp;          // over ESP, of the gathered size
  LinearTime reduce_scatter_esp;  // over ESP, of the input
  LinearTime all_reduce_esp;      // over ESP, of the buffer
  LinearTime experts;             // of multiply-adds
};

// S2's combine: an all-to-all in pairwise steps whose pieces are gathered over MP as they arrive, on two streams (the paper's
// SAA; the order of the released kernel). With steps i = 1 .. p-1 of one piece each:
//   a_0 = self,  a_i = a_(i-1) + pair,  g_i = max(g_(i-1), a_(i-1)) + gather,  end = max(a_(p-1) + gather, g_(p-1))
// Worked: p = 4, self 0, pair 3, gather 1: a = 0 3 6 9, g = 1 4 7, end = 10. Gathers slower than exchanges, gather 5:
// g = 5 10 15, end = max(14, 15) = 15.
struct SaaSteps {
  int ranks = 1;   // of the exchange
  Seconds self;    // the piece that stays
  Seconds pair;    // one exchange of a piece
  Seconds gather;  // of one piece over MP
};
[[nodiscard]] Seconds saa_time(const SaaSteps& steps);

// Where no pairwise times are known: max(A2A(x), AG(D)) + AG(D) / p, the tail of the last piece. Without MP the exchange alone.
[[nodiscard]] Seconds saa_bound(const ParmLayer& layer, const ParmCosts& costs, int ranks);

struct ParmTimes {
  Seconds base;
  Seconds s1;
  Seconds s2;
};
// `ranks` of the exchange, N_EP * N_ESP.
[[nodiscard]] ParmTimes parm_forward(const ParmLayer& layer, const ParmCosts& costs, int ranks);
enum class ShardSum : std::uint8_t { kReduceScatter, kAllReduce };
[[nodiscard]] ParmTimes parm_forward_and_backward(const ParmLayer& layer, const ParmCosts& costs, int ranks,
                                                  ShardSum sum = ShardSum::kReduceScatter);

enum class ParmChoice : std::uint8_t { kS1, kS2 };
[[nodiscard]] ParmChoice choose_schedule(const ParmTimes& times);

// The choice for long messages alone: with rho = AG / A2A in seconds per byte and g = N_ESP / N_MP the gather of S2 hides where
// rho <= g; else S1 wins where k f > rho / (rho - g). Without MP the two are the same, and S1 it is.
// Worked, rho 0.55: N_MP 4, N_ESP 1 (g 0.25): S1 for k f > 1.83, so S1 at 2.4 and S2 at 1.2; N_MP = N_ESP: S2.
[[nodiscard]] ParmChoice choose_by_bandwidth(double rho, int mp, int esp, double copies_per_token);

}  // namespace moesim
