#include <gmock/gmock.h>

#include <numeric>

#include "kernel_testing.hpp"

namespace moesim::kernel_testing {
namespace {

struct Places {
  std::vector<std::int32_t> positions, sequences;
};

struct Case {
  const char* name;
  AttentionHeads shape;
  Places queries, keys;
};

AttentionHeads heads(std::int64_t q, std::int64_t kv, std::int64_t dim, std::int64_t value_dim,
                     std::int64_t window = 0) {
  return {q, kv, dim, value_dim, window};
}

Places whole(int sequences, int length) {
  Places p;
  for (int s = 0; s < sequences; ++s)
    for (int i = 0; i < length; ++i) {
      p.positions.push_back(i);
      p.sequences.push_back(s);
    }
  return p;
}

// Zigzag context parallelism over two ranks of a sequence of four slices: rank 0 holds slices 0 and 3, rank 1 slices 1 and 2.
// The keys stand in the order of the ranks.
Places slices(std::initializer_list<int> which, int slice) {
  Places p;
  for (const int s : which)
    for (int i = 0; i < slice; ++i) {
      p.positions.push_back(s * slice + i);
      p.sequences.push_back(0);
    }
  return p;
}

std::vector<Case> cases() {
  return {{"one token", heads(1, 1, 4, 4), whole(1, 1), whole(1, 1)},
          {"no tokens", heads(2, 1, 4, 4), whole(1, 0), whole(1, 0)},
          {"queries without keys", heads(2, 1, 4, 3), whole(1, 2), whole(1, 0)},
          {"few tokens, groups", heads(4, 2, 5, 3), whole(1, 6), whole(1, 6)},
          {"window", heads(2, 1, 4, 4, 3), whole(1, 9), whole(1, 9)},
          {"packed sequences", heads(2, 2, 4, 4), whole(3, 4), whole(3, 4)},
          {"zigzag slice", heads(2, 1, 4, 6), slices({1, 2}, 3), slices({0, 3, 1, 2}, 3)},
          {"a query of another sequence", heads(1, 1, 4, 4), {{0, 5, 1}, {0, 7, 0}}, whole(1, 2)},
          {"several blocks", heads(4, 2, 16, 8), whole(1, 300), whole(1, 300)},
          {"blocks behind the window", heads(2, 1, 8, 8, 37), whole(1, 333), whole(1, 333)},
          {"sequences across blocks", heads(2, 1, 8, 8), whole(3, 101), whole(3, 101)},
          {"zigzag across blocks", heads(6, 1, 8, 8), slices({1, 2}, 77), slices({0, 3, 1, 2}, 77)}};
}

struct Result {
  Values o, lse, gq, gk, gv;
};

// The textbook's loops; gradients by the formula at the top of attention_grad.cpp with gP and P of single elements.
Result reference(const Case& c, const Values& q, const Values& k, const Values& v, const Values& go) {
  const AttentionHeads& s = c.shape;
  const auto queries = static_cast<std::int64_t>(c.queries.positions.size());
  const auto keys = static_cast<std::int64_t>(c.keys.positions.size());
  Result result{Values(static_cast<std::size_t>(queries * s.heads * s.value_head_dim), 0.0),
                {},
                Values(q.size(), 0.0),
                Values(k.size(), 0.0),
                Values(v.size(), 0.0)};
  result.lse.assign(static_cast<std::size_t>(queries * s.heads), -std::numeric_limits<double>::infinity());
  const double scale = 1.0 / std::sqrt(static_cast<double>(s.head_dim));
  for (std::int64_t i = 0; i < queries; ++i)
    for (std::int64_t h = 0; h < s.heads; ++h) {
      const std::int64_t kv = h / (s.heads / s.kv_heads);
      const std::int64_t q_at = (i * s.heads + h) * s.head_dim;
      const std::int64_t o_at = (i * s.heads + h) * s.value_head_dim;
      std::vector<std::int64_t> seen;
      Values p;
      double sum = 0.0;
      for (std::int64_t j = 0; j < keys; ++j) {
        const int distance = c.queries.positions[i] - c.keys.positions[j];
        if (c.queries.sequences[i] != c.keys.sequences[j] || distance < 0) continue;
        if (s.window > 0 && distance >= s.window) continue;
        double score = 0.0;
        for (std::int64_t d = 0; d < s.head_dim; ++d) score += q[q_at + d] * k[(j * s.kv_heads + kv) * s.head_dim + d];
        seen.push_back(j);
        p.push_back(std::exp(score * scale));  // scores are small enough here
        sum += p.back();
      }
      if (seen.empty()) continue;
      result.lse[static_cast<std::size_t>(i * s.heads + h)] = std::log(sum);
      double along = 0.0;
      Values gp(seen.size(), 0.0);
      for (std::size_t n = 0; n < seen.size(); ++n) {
        p[n] /= sum;
        const std::int64_t v_at = (seen[n] * s.kv_heads + kv) * s.value_head_dim;
        for (std::int64_t d = 0; d < s.value_head_dim; ++d) {
          result.o[o_at + d] += p[n] * v[v_at + d];
          result.gv[v_at + d] += p[n] * go[o_at + d];
          gp[n] += go[o_at + d] * v[v_at + d];
        }
        along += p[n] * gp[n];
      }
      for (std::size_t n = 0; n < seen.size(); ++n) {
        const std::int64_t k_at = (seen[n] * s.kv_heads + kv) * s.head_dim;
        const double gs = p[n] * (gp[n] - along) * scale;
        for (std::int64_t d = 0; d < s.head_dim; ++d) {
          result.gq[q_at + d] += gs * k[k_at + d];
          result.gk[k_at + d] += gs * q[q_at + d];
        }
      }
    }
  return result;
}

class AttentionTest : public InBothFormats {};

TEST_P(AttentionTest, ForwardAndGradientsMatchFloat64) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const AttentionHeads& s = c.shape;
    const auto queries = static_cast<std::int64_t>(c.queries.positions.size());
    const auto keys = static_cast<std::int64_t>(c.keys.positions.size());
    const DeviceIndices qp(c.queries.positions), qs(c.queries.sequences), kp(c.keys.positions), ks(c.keys.sequences);
    const TokenPlaces query_places{qp.view(), qs.view()};
    const TokenPlaces key_places{kp.view(), ks.view()};
    const auto matrix = [&](std::uint64_t seed, std::int64_t rows, std::int64_t columns) {
      return DeviceMatrix(GetParam(), rows, columns, random_values(seed, rows * columns));
    };
    const DeviceMatrix q = matrix(1, queries, s.heads * s.head_dim);
    const DeviceMatrix k = matrix(2, keys, s.kv_heads * s.head_dim);
    const DeviceMatrix v = matrix(3, keys, s.kv_heads * s.value_head_dim);
    const DeviceMatrix go = matrix(4, queries, s.heads * s.value_head_dim);
    const Result expected = reference(c, q.values(), k.values(), v.values(), go.values());

    const DeviceMatrix o(GetParam(), queries, s.heads * s.value_head_dim);
    const DeviceMatrix lse(DType::kFp32, queries, s.heads);
    expect_ok(backend().attention(stream(),
                                  {s, query_places, key_places, q.view(), k.view(), v.view(), o.view(), lse.view()}));
    expect_close("o", o.values(), expected.o, GetParam());
    const Values lses = lse.values();
    for (std::size_t i = 0; i < lses.size(); ++i) {
      if (std::isinf(expected.lse[i]))
        EXPECT_EQ(lses[i], expected.lse[i]);
      else
        EXPECT_NEAR(lses[i], expected.lse[i], 2e-6);
    }

    for (const bool keep_lse : {true, false}) {
      const DeviceMatrix gq(GetParam(), queries, s.heads * s.head_dim);
      const DeviceMatrix gk(GetParam(), keys, s.kv_heads * s.head_dim);
      const DeviceMatrix gv(GetParam(), keys, s.kv_heads * s.value_head_dim);
      const std::optional<MatrixView> kept = keep_lse ? std::optional<MatrixView>(lse.view()) : std::nullopt;
      expect_ok(backend().attention_grad(stream(), {s, query_places, key_places, go.view(), q.view(), k.view(),
                                                    v.view(), o.view(), kept, gq.view(), gk.view(), gv.view()}));
      const double of_scale = GetParam() == DType::kBf16 ? std::max(1e-5, error_of_stored_output()) : 1e-5;
      expect_close("gq", gq.values(), expected.gq, GetParam(), of_scale);
      expect_close("gk", gk.values(), expected.gk, GetParam(), of_scale);
      expect_close("gv", gv.values(), expected.gv, GetParam());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, AttentionTest, ::testing::Values(DType::kFp32, DType::kBf16), format_name);

TEST(AttentionReferenceTest, FormulaAgreesWithDifferences) {
  const Case c{"", heads(4, 2, 5, 3, 4), whole(2, 5), whole(2, 5)};
  const Values q = random_values(1, 10 * 20), k = random_values(2, 10 * 10), v = random_values(3, 10 * 6);
  const Values go = random_values(4, 10 * 12);
  const Result result = reference(c, q, k, v, go);
  const auto by_q = [&](const Values& at) { return reference(c, at, k, v, go).o; };
  const auto by_k = [&](const Values& at) { return reference(c, q, at, v, go).o; };
  const auto by_v = [&](const Values& at) { return reference(c, q, k, at, go).o; };
  expect_close("gq", result.gq, numeric_gradient(by_q, q, go), DType::kFp32, 1e-7);
  expect_close("gk", result.gk, numeric_gradient(by_k, k, go), DType::kFp32, 1e-7);
  expect_close("gv", result.gv, numeric_gradient(by_v, v, go), DType::kFp32, 1e-7);
}

TEST(AttentionFusedTest, PartsOfFusedColumnsGiveTheSame) {
  const AttentionHeads s = heads(4, 2, 6, 5);
  constexpr std::int64_t kRows = 70;
  const Case c{"", s, whole(1, kRows), whole(1, kRows)};
  const DeviceIndices positions(c.queries.positions), sequences(c.queries.sequences);
  const TokenPlaces places{positions.view(), sequences.view()};
  const std::int64_t columns = 4 * 6 + 2 * (6 + 5);
  const DeviceMatrix qkv(DType::kFp32, kRows, columns, random_values(1, kRows * columns));
  const DeviceMatrix go(DType::kFp32, kRows, 20, random_values(2, kRows * 20));
  const DeviceMatrix o(DType::kFp32, kRows, 20);
  const DeviceMatrix gqkv(DType::kFp32, kRows, columns);
  const auto [q, k, v] = split_qkv(qkv.view(), s);
  const auto [gq, gk, gv] = split_qkv(gqkv.view(), s);
  expect_ok(backend().attention(stream(), {s, places, places, q, k, v, o.view(), {}}));
  expect_ok(backend().attention_grad(stream(), {s, places, places, go.view(), q, k, v, o.view(), {}, gq, gk, gv}));

  const Values all = qkv.values();
  const auto part = [&](const Values& from, std::int64_t first, std::int64_t count) {
    Values result;
    for (std::int64_t r = 0; r < kRows; ++r)
      for (std::int64_t i = 0; i < count; ++i)
        result.push_back(from[static_cast<std::size_t>(r * columns + first + i)]);
    return result;
  };
  const Result expected = reference(c, part(all, 0, 24), part(all, 24, 12), part(all, 36, 10), go.values());
  const Values gradients = gqkv.values();
  expect_close("o", o.values(), expected.o, DType::kFp32);
  expect_close("gq", part(gradients, 0, 24), expected.gq, DType::kFp32);
  expect_close("gk", part(gradients, 24, 12), expected.gk, DType::kFp32);
  expect_close("gv", part(gradients, 36, 10), expected.gv, DType::kFp32);

  const auto [kv_k, kv_v] = split_kv(column_range(qkv.view(), 24, 22), s);
  EXPECT_EQ(kv_k.data, k.data);
  EXPECT_EQ(kv_v.data, v.data);
}

TEST(AttentionLargeScoresTest, StayFinite) {
  // Scores of 10 000 and -10 000: the softmax is 1 for the first key and 0 for the second.
  const DeviceIndices positions({0, 1}), sequences({0, 0});
  const TokenPlaces places{positions.view(), sequences.view()};
  const DeviceMatrix q(DType::kFp32, 2, 1, {100, 100});
  const DeviceMatrix k(DType::kFp32, 2, 1, {100, -100});
  const DeviceMatrix v(DType::kFp32, 2, 1, {3, 5});
  const DeviceMatrix o(DType::kFp32, 2, 1);
  expect_ok(
      backend().attention(stream(), {heads(1, 1, 1, 1), places, places, q.view(), k.view(), v.view(), o.view(), {}}));
  EXPECT_EQ(o.values(), (Values{3, 3}));
}

TEST(AttentionErrorTest, RefusesWhatDoesNotFit) {
  const DeviceIndices positions({0, 1}), sequences({0, 0});
  const TokenPlaces places{positions.view(), sequences.view()};
  const DeviceMatrix q(DType::kFp32, 2, 6, random_values(1, 12));
  const DeviceMatrix o(DType::kFp32, 2, 6);
  const auto attention = [&](const AttentionHeads& s, const TokenPlaces& at) {
    return refusal(backend().attention(stream(), {s, at, at, q.view(), q.view(), q.view(), o.view(), {}}));
  };
  EXPECT_THAT(attention(heads(3, 2, 2, 2), places), ::testing::HasSubstr("no multiple"));
  EXPECT_THAT(attention(heads(0, 0, 2, 2), places), ::testing::HasSubstr("not positive"));
  EXPECT_THAT(attention(heads(3, 1, 2, 2), places), ::testing::HasSubstr("k is 2 x 6 and should be 2 x 2"));
  EXPECT_THAT(attention(heads(3, 3, 2, 2), {positions.view(), {}}), ::testing::HasSubstr("queries.sequences"));
  EXPECT_TRUE(o.untouched());
}

}  // namespace
}  // namespace moesim::kernel_testing
