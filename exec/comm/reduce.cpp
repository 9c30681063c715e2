#include "exec/comm/reduce.hpp"

#include <cmath>
#include <cstring>
#include <limits>

namespace moesim {
namespace {

template <class T>
T load(std::span<const std::byte> storage, std::size_t i) {
  T value;
  std::memcpy(&value, storage.data() + i * sizeof(T), sizeof(T));
  return value;
}

template <class T>
void store(std::span<std::byte> storage, std::size_t i, T value) {
  std::memcpy(storage.data() + i * sizeof(T), &value, sizeof(T));
}

struct Sum {
  float operator()(float a, float b) const { return a + b; }
};
struct Max {
  float operator()(float a, float b) const {
    if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<float>::quiet_NaN();
    return a < b ? b : a;
  }
};

struct Fp32 {
  using Stored = float;
  static float wide(float value) { return value; }
  static float narrow(float value) { return value; }
};
struct Bf16 {
  using Stored = Bf16Bits;
  static float wide(Bf16Bits value) { return bf16_to_float(value); }
  static Bf16Bits narrow(float value) { return bf16_from_float(value); }
};

template <class Format, class Combine>
void combine_all(OperandOrder order, std::span<std::byte> into, std::span<const std::byte> from) {
  using Stored = typename Format::Stored;
  const std::size_t count = into.size() / sizeof(Stored);
  const Combine combine;
  for (std::size_t i = 0; i < count; ++i) {
    const float a = Format::wide(load<Stored>(into, i));
    const float b = Format::wide(load<Stored>(from, i));
    store(into, i, Format::narrow(order == OperandOrder::kIntoFirst ? combine(a, b) : combine(b, a)));
  }
}

template <class Format>
void combine_as(ReduceKind kind, OperandOrder order, std::span<std::byte> into, std::span<const std::byte> from) {
  switch (kind) {
    case ReduceKind::kSum: return combine_all<Format, Sum>(order, into, from);
    case ReduceKind::kMax: return combine_all<Format, Max>(order, into, from);
  }
}

}  // namespace

void reduce_into(Reduction how, OperandOrder order, std::span<std::byte> into, std::span<const std::byte> from) {
  MOESIM_ASSERT(into.size() == from.size());
  MOESIM_ASSERT(how.type == DType::kFp32 || how.type == DType::kBf16);
  if (how.type == DType::kFp32) return combine_as<Fp32>(how.kind, order, into, from);
  combine_as<Bf16>(how.kind, order, into, from);
}

void widen(std::span<std::byte> wide, std::span<const std::byte> narrow) {
  MOESIM_ASSERT(wide.size() == 2 * narrow.size());
  for (std::size_t i = 0; i < narrow.size() / sizeof(Bf16Bits); ++i)
    store(wide, i, bf16_to_float(load<Bf16Bits>(narrow, i)));
}

void narrow(std::span<std::byte> narrow, std::span<const std::byte> wide) {
  MOESIM_ASSERT(wide.size() == 2 * narrow.size());
  for (std::size_t i = 0; i < narrow.size() / sizeof(Bf16Bits); ++i)
    store(narrow, i, bf16_from_float(load<float>(wide, i)));
}

}  // namespace moesim
