#include <gmock/gmock.h>

#include <numeric>
#include <set>

#include "kernel_testing.hpp"

namespace moesim::kernel_testing {
namespace {

using Ids = std::vector<std::int64_t>;

Values row_of(const Values& m, std::int64_t columns, std::int64_t r) {
  return {m.begin() + r * columns, m.begin() + (r + 1) * columns};
}

Values softmax(const Values& l) {
  const double largest = *std::max_element(l.begin(), l.end());
  Values s;
  for (const double x : l) s.push_back(std::exp(x - largest));
  const double sum = std::accumulate(s.begin(), s.end(), 0.0);
  for (double& x : s) x /= sum;
  return s;
}

Values scores(RouterScore kind, const Values& l) {
  if (kind != RouterScore::kSigmoid) return softmax(l);
  Values s;
  for (const double x : l) s.push_back(1.0 / (1.0 + std::exp(-x)));
  return s;
}

Values weights(const GateSettings& gate, const Values& l, const Ids& chosen) {
  const Values s = scores(gate.score, l);
  Values w, picked;
  for (const std::int64_t e : chosen) {
    w.push_back(s[static_cast<std::size_t>(e)]);
    picked.push_back(l[static_cast<std::size_t>(e)]);
  }
  if (gate.score == RouterScore::kSoftmaxOfTopk) w = softmax(picked);
  const double sum = gate.normalise ? std::accumulate(w.begin(), w.end(), 0.0) : 1.0;
  for (double& x : w) x *= static_cast<double>(gate.scale) / sum;
  return w;
}

// Shares of the scores, by expert, of one token.
Values shares(RouterScore kind, const Values& l) {
  Values s = scores(kind, l);
  const double sum = std::accumulate(s.begin(), s.end(), 0.0);
  for (double& x : s) x /= sum;
  return s;
}

Ids largest(const Values& l, std::int64_t k) {
  Ids order(l.size());
  std::iota(order.begin(), order.end(), 0);
  const double* logit = l.data();
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return logit[a] > logit[b]; });
  return {order.begin(), order.begin() + k};
}

Ids ids_of(const Values& probabilities, std::int64_t k, std::int64_t r) {
  Ids ids;
  for (std::int64_t i = (2 * r + 1) * k; i < (2 * r + 2) * k; ++i)
    ids.push_back(static_cast<std::int64_t>(probabilities[static_cast<std::size_t>(i)]));
  return ids;
}

std::vector<GateSettings> settings() {
  std::vector<GateSettings> all;
  for (const RouterScore score : {RouterScore::kSoftmax, RouterScore::kSoftmaxOfTopk, RouterScore::kSigmoid})
    for (const bool normalise : {false, true})
      for (const std::int64_t k : {1, 3}) all.push_back({k, score, normalise, 1.5F});
  return all;
}

constexpr std::int64_t kExperts = 7;

class GateTest : public InBothFormats {};

TEST_P(GateTest, ChoosesWeighsAndCounts) {
  for (const GateSettings& gate : settings())
    for (const std::int64_t tokens : {0, 1, 13}) {
      SCOPED_TRACE(::testing::Message() << "score " << static_cast<int>(gate.score) << ", k " << gate.top_k);
      const DeviceMatrix logits(GetParam(), tokens, kExperts, random_values(7, tokens * kExperts, 2.0));
      const DeviceMatrix out(DType::kFp32, tokens, 2 * gate.top_k);
      const DeviceMatrix statistics(DType::kFp32, 2, kExperts);
      expect_ok(backend().top_k(stream(), {gate, logits.view(), {}, out.view(), statistics.view()}));
      const Values l = logits.values();
      Values expected;
      Values counts(2 * kExperts, 0.0);
      for (std::int64_t r = 0; r < tokens; ++r) {
        const Values row = row_of(l, kExperts, r);
        const Ids chosen = largest(row, gate.top_k);
        for (const double w : weights(gate, row, chosen)) expected.push_back(w);
        for (const std::int64_t e : chosen) {
          expected.push_back(static_cast<double>(e));
          counts[static_cast<std::size_t>(e)] += 1.0;
        }
        const Values share = shares(gate.score, row);
        for (std::size_t e = 0; e < share.size(); ++e) counts[kExperts + e] += share[e];
      }
      const Values actual = out.values();
      ASSERT_EQ(actual.size(), expected.size());
      for (std::size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], 2e-6) << i;
      expect_close("statistics", statistics.values(), counts, DType::kFp32);
    }
}

TEST_P(GateTest, GradientMatchesDifferences) {
  constexpr std::int64_t kTokens = 5;
  for (const GateSettings& gate : settings())
    for (const bool balanced : {false, true}) {
      SCOPED_TRACE(::testing::Message() << "score " << static_cast<int>(gate.score) << ", normalise " << gate.normalise
                                        << ", k " << gate.top_k << ", balance " << balanced);
      const DeviceMatrix logits(GetParam(), kTokens, kExperts, random_values(8, kTokens * kExperts));
      const DeviceMatrix out(DType::kFp32, kTokens, 2 * gate.top_k);
      const DeviceMatrix statistics(DType::kFp32, 2, kExperts);
      expect_ok(backend().top_k(stream(), {gate, logits.view(), {}, out.view(), statistics.view()}));
      const Values p = out.values();
      const DeviceMatrix gp(DType::kFp32, kTokens, 2 * gate.top_k, random_values(9, kTokens * 2 * gate.top_k));
      const DeviceMatrix gradient(GetParam(), kTokens, kExperts);
      constexpr float kCoefficient = 0.7F;
      const std::optional<BalanceLoss> balance =
          balanced ? std::optional<BalanceLoss>({kCoefficient, kTokens, statistics.view()}) : std::nullopt;
      expect_ok(backend().top_k_grad(stream(), {gate, gp.view(), out.view(), logits.view(), balance, gradient.view()}));

      // What the gradient is of: the weights of the experts chosen, and the loss with f fixed.
      const Values counts = row_of(statistics.values(), kExperts, 0);
      const auto outputs = [&](const Values& at) {
        Values result;
        double loss = 0.0;
        for (std::int64_t r = 0; r < kTokens; ++r) {
          const Values row = row_of(at, kExperts, r);
          for (const double w : weights(gate, row, ids_of(p, gate.top_k, r))) result.push_back(w);
          const Values share = shares(gate.score, row);
          for (std::size_t e = 0; e < share.size(); ++e)
            loss += counts[e] / static_cast<double>(kTokens * gate.top_k) * share[e] / kTokens;
        }
        result.push_back(balanced ? static_cast<double>(kCoefficient) * kExperts * loss : 0.0);
        return result;
      };
      Values gy;
      const Values g = gp.values();
      for (std::int64_t r = 0; r < kTokens; ++r)
        for (std::int64_t i = 0; i < gate.top_k; ++i) gy.push_back(g[static_cast<std::size_t>(2 * r * gate.top_k + i)]);
      gy.push_back(1.0);
      const Values expected = numeric_gradient(outputs, logits.values(), gy);
      const Values actual = gradient.values();
      for (std::size_t i = 0; i < actual.size(); ++i)
        ASSERT_NEAR(actual[i], expected[i], (GetParam() == DType::kBf16 ? std::abs(expected[i]) / 256 : 0.0) + 1e-6)
            << i;
    }
}

INSTANTIATE_TEST_SUITE_P(Formats, GateTest, ::testing::Values(DType::kFp32, DType::kBf16), format_name);

TEST(GateExampleTest, LowerExpertWinsTies) {
  // softmax(1, 1, 0): e / (2 e + 1) = 0.422319.
  const DeviceMatrix logits(DType::kFp32, 1, 3, {1, 1, 0});
  const DeviceMatrix out(DType::kFp32, 1, 2);
  expect_ok(backend().top_k(stream(), {{.top_k = 1}, logits.view(), {}, out.view(), {}}));
  EXPECT_NEAR(out.values()[0], 0.422319, 1e-6);
  EXPECT_EQ(out.values()[1], 0.0);
  const DeviceMatrix equal(DType::kFp32, 1, 5, {0, 2, 2, 0, 0});
  const DeviceMatrix three(DType::kFp32, 1, 6);
  expect_ok(backend().top_k(stream(), {{.top_k = 3}, equal.view(), {}, three.view(), {}}));
  EXPECT_EQ(ids_of(three.values(), 3, 0), (Ids{1, 2, 0}));
}

TEST(GateExampleTest, BalanceLossOfEvenLoadsIsTheCoefficient) {
  // 4 experts, 8 tokens, k = 2: each chosen 4 times, shares 2 each. f = P = 1/4: 4 * 4 * (1/4)^2 = 1.
  const std::vector<float> chosen(4, 4.0F), share(4, 2.0F);
  EXPECT_DOUBLE_EQ(balance_loss(0.5F, 8, 2, chosen, share), 0.5);
  // All on one expert with a share of 1: f = P = 1 there, so 4 times the coefficient.
  EXPECT_DOUBLE_EQ(balance_loss(0.5F, 8, 1, std::vector<float>{8, 0, 0, 0}, std::vector<float>{8, 0, 0, 0}), 2.0);
  EXPECT_EQ(balance_loss(0.5F, 0, 2, chosen, share), 0.0);
}

// Scores 1/2 (logit 0), 0.6 and 0.4 with biases 0, -0.2 and 0.2: 0.5, 0.4, 0.6, so expert 2 is first and its weight is 0.4.
TEST(GateExampleTest, ABiasDecidesButDoesNotWeigh) {
  if (backend().name() != "cpu") GTEST_SKIP() << "not implemented on a GPU";
  const double l = std::log(0.6 / 0.4);
  const DeviceMatrix logits(DType::kFp32, 1, 3, {0, l, -l});
  const DeviceMatrix bias(DType::kFp32, 1, 3, {0, -0.2, 0.2});
  const DeviceMatrix out(DType::kFp32, 1, 4);
  TopKArgs args{{2, RouterScore::kSigmoid, false, 1.0F}, logits.view(), {}, out.view(), {}, bias.view()};
  expect_ok(backend().top_k(stream(), args));
  EXPECT_EQ(ids_of(out.values(), 2, 0), (Ids{2, 0}));
  EXPECT_NEAR(out.values()[0], 0.4, 1e-6);
  EXPECT_NEAR(out.values()[1], 0.5, 1e-6);
}

// Three groups of two. By their best expert the order is group 1, 0, 2, by the sum of the two best 2, 1, 0.
TEST(GateExampleTest, GroupsLimitTheChoice) {
  if (backend().name() != "cpu") GTEST_SKIP() << "not implemented on a GPU";
  const DeviceMatrix logits(DType::kFp32, 1, 6, {1.5, -4, 2, -3, 1, 0.9});
  const DeviceMatrix out(DType::kFp32, 1, 4);
  const auto chosen = [&](RouterScore score, std::int64_t top_groups) {
    expect_ok(backend().top_k(stream(), {{2, score, true, 1.0F, 3, top_groups}, logits.view(), {}, out.view(), {}}));
    return ids_of(out.values(), 2, 0);
  };
  EXPECT_EQ(chosen(RouterScore::kSoftmax, 1), (Ids{2, 3}));
  EXPECT_EQ(chosen(RouterScore::kSoftmax, 2), (Ids{2, 0}));
  EXPECT_EQ(chosen(RouterScore::kSigmoid, 1), (Ids{4, 5}));
  EXPECT_EQ(chosen(RouterScore::kSigmoid, 2), (Ids{2, 4}));
  EXPECT_EQ(chosen(RouterScore::kSigmoid, 3), (Ids{2, 0}));
}

// With all groups open, and with a bias of zeros, the choice is the plain one; with fewer it keeps to them.
TEST_P(GateTest, GroupsAndBiasesOnlyNarrowTheChoice) {
  if (backend().name() != "cpu") GTEST_SKIP() << "not implemented on a GPU";
  constexpr std::int64_t kTokens = 30;
  const DeviceMatrix logits(GetParam(), kTokens, 8, random_values(11, kTokens * 8));
  const DeviceMatrix zeros(DType::kFp32, 1, 8, Values(8, 0.0));
  const DeviceMatrix plain(DType::kFp32, kTokens, 4), grouped(DType::kFp32, kTokens, 4);
  const auto with = [&](std::int64_t groups, std::int64_t top_groups, const DeviceMatrix& out) {
    TopKArgs args{{2, RouterScore::kSigmoid, true, 1.0F, groups, top_groups}, logits.view(), {}, out.view(), {}};
    if (groups > 0) args.bias = zeros.view();
    expect_ok(backend().top_k(stream(), args));
  };
  with(0, 0, plain);
  with(4, 4, grouped);
  EXPECT_EQ(plain.values(), grouped.values());
  with(4, 2, grouped);
  for (std::int64_t r = 0; r < kTokens; ++r) {
    const Values scored = scores(RouterScore::kSigmoid, row_of(logits.values(), 8, r));
    Values groups;
    for (std::size_t g = 0; g < 4; ++g) groups.push_back(scored[2 * g] + scored[2 * g + 1]);
    const Ids open = largest(groups, 2);
    Values masked(8, -1.0);
    for (const std::int64_t g : open)
      for (const std::size_t e : {2 * static_cast<std::size_t>(g), 2 * static_cast<std::size_t>(g) + 1})
        masked[e] = scored[e];
    EXPECT_EQ(ids_of(grouped.values(), 2, r), largest(masked, 2)) << r;
  }
}

TEST(GateReplayTest, MeetsAnyPossibleCounts) {
  Pcg32 random(3);
  for (int round = 0; round < 300; ++round) {
    const std::int64_t experts = 1 + random.below(9);
    const std::int64_t k = 1 + random.below(static_cast<std::uint32_t>(experts));
    const std::int64_t tokens = 1 + random.below(12);
    // Starting full at the lowest experts, moving copies around at random keeps counts possible.
    std::vector<std::int32_t> counts(static_cast<std::size_t>(experts), 0);
    std::fill_n(counts.begin(), k, static_cast<std::int32_t>(tokens));
    for (int move = 0; move < 200; ++move) {
      std::int32_t& from = counts[random.below(static_cast<std::uint32_t>(experts))];
      std::int32_t& to = counts[random.below(static_cast<std::uint32_t>(experts))];
      if (from > 0 && to < tokens) --from, ++to;
    }
    const DeviceMatrix logits(DType::kFp32, tokens, experts,
                              random_values(static_cast<std::uint64_t>(round), tokens * experts));
    const DeviceMatrix out(DType::kFp32, tokens, 2 * k);
    const GateSettings gate{k, RouterScore::kSoftmax, true, 1.0F};
    expect_ok(backend().top_k(stream(), {gate, logits.view(), counts, out.view(), {}}));
    std::vector<std::int32_t> met(counts.size(), 0);
    for (std::int64_t r = 0; r < tokens; ++r) {
      const Ids ids = ids_of(out.values(), k, r);
      ASSERT_EQ(std::set<std::int64_t>(ids.begin(), ids.end()).size(), ids.size()) << "an expert twice";
      for (const std::int64_t e : ids) ++met[static_cast<std::size_t>(e)];
      const Values expected = weights(gate, row_of(logits.values(), experts, r), ids);
      for (std::size_t i = 0; i < ids.size(); ++i)
        ASSERT_NEAR(out.values()[static_cast<std::size_t>(2 * r * k) + i], expected[i], 1e-6);
    }
    ASSERT_EQ(met, counts);
  }
}

TEST(GateReplayTest, KeepsTheLearnedChoiceWhereTheCountsAreItsOwn) {
  constexpr std::int64_t kTokens = 40;
  const DeviceMatrix logits(DType::kFp32, kTokens, kExperts, random_values(5, kTokens * kExperts));
  const DeviceMatrix learned(DType::kFp32, kTokens, 4), replayed(DType::kFp32, kTokens, 4);
  const DeviceMatrix statistics(DType::kFp32, 2, kExperts);
  expect_ok(backend().top_k(stream(), {{.top_k = 2}, logits.view(), {}, learned.view(), statistics.view()}));
  std::vector<std::int32_t> counts;
  for (const double n : row_of(statistics.values(), kExperts, 0)) counts.push_back(static_cast<std::int32_t>(n));
  expect_ok(backend().top_k(stream(), {{.top_k = 2}, logits.view(), counts, replayed.view(), {}}));
  EXPECT_EQ(replayed.values(), learned.values());
}

TEST(GateReplayTest, FarExpertsStillGetFiniteWeights) {
  // Forced onto the two experts whose probabilities are 0 in FP32; between themselves they share evenly.
  const DeviceMatrix logits(DType::kFp32, 1, 3, {500, 0, 0});
  const DeviceMatrix out(DType::kFp32, 1, 4);
  const std::vector<std::int32_t> counts = {0, 1, 1};
  expect_ok(backend().top_k(stream(), {{2, RouterScore::kSoftmax, true, 1.0F}, logits.view(), counts, out.view(), {}}));
  EXPECT_EQ(out.values(), (Values{0.5, 0.5, 1, 2}));
}

TEST(GateErrorTest, RefusesImpossibleCountsAndSettings) {
  const DeviceMatrix logits(DType::kFp32, 2, 3, {1, 2, 3, 4, 5, 6});
  const DeviceMatrix out(DType::kFp32, 2, 4);
  const auto top_k = [&](GateSettings gate, const std::vector<std::int32_t>& counts) {
    return refusal(backend().top_k(stream(), {gate, logits.view(), counts, out.view(), {}}));
  };
  EXPECT_THAT(top_k({.top_k = 2}, {2, 2}), ::testing::HasSubstr("one per expert"));
  EXPECT_THAT(top_k({.top_k = 2}, {3, 1, 0}), ::testing::HasSubstr("larger than the number of tokens"));
  EXPECT_THAT(top_k({.top_k = 2}, {2, 1, 0}), ::testing::HasSubstr("add up"));
  EXPECT_THAT(top_k({.top_k = 4}, {}), ::testing::HasSubstr("top_k is not between"));
  EXPECT_THAT(top_k({.top_k = 2, .score = RouterScore::kSparsemixer}, {}), ::testing::HasSubstr("sparsemixer"));
  EXPECT_THAT(top_k({.top_k = 2, .groups = 2, .top_groups = 1}, {}), ::testing::HasSubstr("groups do not divide"));
  EXPECT_THAT(top_k({.top_k = 2, .groups = 3, .top_groups = 1}, {}), ::testing::HasSubstr("too few for top_k"));
  EXPECT_TRUE(out.untouched());
}

}  // namespace
}  // namespace moesim::kernel_testing
