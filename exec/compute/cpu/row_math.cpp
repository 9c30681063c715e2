#include "exec/compute/cpu/row_math.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "exec/compute/cpu/fast_exp.hpp"

namespace moesim {
namespace {

constexpr std::int64_t kLanes = 8;
constexpr float kLowest = -std::numeric_limits<float>::infinity();

}  // namespace

float dot(const float* a, const float* b, std::int64_t count) {
  float lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (std::int64_t j = 0; j < kLanes; ++j) lanes[j] += a[i + j] * b[i + j];
  float sum = 0.0F;
  for (; i < count; ++i) sum += a[i] * b[i];
  for (const float lane : lanes) sum += lane;
  return sum;
}

float sum_of(const float* x, std::int64_t count) {
  float lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (std::int64_t j = 0; j < kLanes; ++j) lanes[j] += x[i + j];
  float sum = 0.0F;
  for (; i < count; ++i) sum += x[i];
  for (const float lane : lanes) sum += lane;
  return sum;
}

float largest_of(const float* x, std::int64_t count) {
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, kLowest);
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (std::int64_t j = 0; j < kLanes; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  float largest = kLowest;
  for (; i < count; ++i) largest = std::max(largest, x[i]);
  for (const float lane : lanes) largest = std::max(largest, lane);
  return largest;
}

void exp_row(const float* x, std::int64_t count, float shift, float* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = fast_exp(x[i] - shift);
}

float sum_exp(const float* x, std::int64_t count, float shift) {
  constexpr std::int64_t kPiece = 256;
  float piece[kPiece];
  float sum = 0.0F;
  for (std::int64_t i = 0; i < count; i += kPiece) {
    const std::int64_t n = std::min(kPiece, count - i);
    exp_row(x + i, n, shift, piece);
    sum += sum_of(piece, n);
  }
  return sum;
}

float softmax_row(float* x, std::int64_t count) {
  const float largest = largest_of(x, count);
  if (largest == kLowest) {
    // Nothing to share out, or nothing but NaN, which stays.
    for (std::int64_t i = 0; i < count; ++i) x[i] = std::isnan(x[i]) ? x[i] : 0.0F;
    return kLowest;
  }
  exp_row(x, count, largest, x);
  const float sum = sum_of(x, count);
  const float share = 1.0F / sum;
  for (std::int64_t i = 0; i < count; ++i) x[i] *= share;
  return largest + std::log(sum);
}

}  // namespace moesim
