// PipeMoE's time of a layer cut into r chunks, and its best r (INFOCOM 2023; the cases of its published solver).
//
// A chunk is dispatched, computed and combined; exchanges share one stream, products another. With t_a and t_e of one chunk,
// t_a = alpha_a + beta_a n / r and t_e = alpha_e + beta_e w / r:
//   r = 1                     2 t_a + t_e
//   exchanges bound  t_e <= t_a   2 r alpha_a + 2 beta_a n
//   experts bound             2 alpha_a + 2 beta_a n / r + r alpha_e + beta_e w
// A chunk's exchanges hide its experts only from two chunks on. Between the two conditions of the paper (a fourth, mixed case)
// the longer of the two forms stands, which both of them are bounds of.
// Worked: alpha_a 1, beta_a n 12, alpha_e 1, beta_e w 24: r = 1: 51; r = 2: max(28, 40) = 40; r = 3: max(30, 37) = 37;
// r = 4: max(32, 36) = 36; r = 5: max(34, 35.8) = 35.8; r = 6: max(36, 36) = 36. Best: 5.
#pragma once

#include "models/cost/closed/linear_time.hpp"

namespace moesim {

struct PipeMoeLayer {
  LinearTime exchange;  // of the buffer's bytes
  LinearTime experts;   // of multiply-adds; both (or all three) products of an expert together
  Bytes dispatched;     // n
  double multiply_adds = 0;
};

[[nodiscard]] Seconds pipemoe_time(const PipeMoeLayer& layer, int degree);

struct BestDegree {
  int degree = 1;
  Seconds time;
};
// The least degree up to `most` that no other beats.
[[nodiscard]] BestDegree pipemoe_best(const PipeMoeLayer& layer, int most);

}  // namespace moesim
