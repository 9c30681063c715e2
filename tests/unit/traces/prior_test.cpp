#include "traces/prior.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace moesim {
namespace {

using ::testing::HasSubstr;

constexpr PriorGate kGate{.layers = 3, .experts = 16, .top_k = 2};

std::vector<double> shares_of_layer(const SelectionTrace& trace, int layer) {
  std::vector<double> shares(static_cast<std::size_t>(trace.dims().experts), 0.0);
  for (int source = 0; source < trace.dims().source_ranks; ++source) {
    const auto row = trace.counts(0, layer, 0, source);
    for (std::size_t e = 0; e < shares.size(); ++e) shares[e] += row[e];
  }
  const double all = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) share /= all;
  std::sort(shares.rbegin(), shares.rend());
  return shares;
}

// Zipf with exponent 1 over 16 experts: the first has 1 / (1 + 1/2 + ... + 1/16) = 0.2958, the second half of it.
TEST(Prior, HasTheSkewOfItsLawInEveryLayer) {
  const Result<SelectionTrace> trace = draw_prior("prior:zipf:1", kGate);
  ASSERT_TRUE(trace.has_value()) << trace.error().what;
  EXPECT_EQ(trace->dims().layers, 3);
  EXPECT_EQ(trace->dims().steps, 1);
  EXPECT_EQ(trace->info.origin, TraceOrigin::kSynthetic);
  for (int layer = 0; layer < 3; ++layer) {
    const std::vector<double> shares = shares_of_layer(*trace, layer);
    EXPECT_NEAR(shares[0], 0.2958, 0.003);
    EXPECT_NEAR(shares[1], 0.1479, 0.003);
  }
  EXPECT_NEAR(shares_of_layer(*draw_prior("prior:hot:0.4", kGate), 1)[0], 0.4, 0.003);
}

TEST(Prior, WithoutANumberThatOfTheSynthesis) {
  const Result<SelectionTrace> said = draw_prior("prior:zipf:1", kGate);
  const Result<SelectionTrace> unsaid = draw_prior("prior:zipf", kGate);
  ASSERT_TRUE(said.has_value() && unsaid.has_value());
  EXPECT_EQ(shares_of_layer(*said, 0), shares_of_layer(*unsaid, 0));
}

TEST(Prior, WhatItCannotMean) {
  const auto refusal = [](std::string_view source) {
    const Result<SelectionTrace> drawn = draw_prior(source, kGate);
    return drawn ? "nothing" : drawn.error().what;
  };
  EXPECT_THAT(refusal("prior:zip:1"), HasSubstr("prior:zip:1: unknown gate law 'zip' (did you mean 'zipf'?)"));
  EXPECT_THAT(refusal("prior:"), HasSubstr("unknown gate law ''"));
  EXPECT_THAT(refusal("prior:zipf:much"), HasSubstr("'much' is no number"));
  EXPECT_THAT(refusal("prior:zipf:1.2x"), HasSubstr("'1.2x' is no number"));
  EXPECT_THAT(refusal("prior:zipf:nan"), HasSubstr("Zipf exponent"));
  EXPECT_THAT(refusal("prior:zipf:1:2"), HasSubstr("one number at most"));
  EXPECT_THAT(refusal("prior:hot:0.6"), HasSubstr("1/top_k = 0.5"));
  EXPECT_THAT(refusal("prior:balanced"), HasSubstr("without a trace"));
}

}  // namespace
}  // namespace moesim
