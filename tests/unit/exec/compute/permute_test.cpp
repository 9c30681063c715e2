#include <gmock/gmock.h>

#include <numeric>

#include "kernel_testing.hpp"

namespace moesim::kernel_testing {
namespace {

using Int32s = std::vector<std::int32_t>;

// The probabilities of tokens that chose these experts: [weights | ids] per token.
Values probabilities_of(const std::vector<Int32s>& choices, std::uint64_t seed) {
  Values result;
  Pcg32 random(seed);
  for (const Int32s& choice : choices) {
    for (std::size_t i = 0; i < choice.size(); ++i) result.push_back(0.25 + random.uniform());
    for (const std::int32_t e : choice) result.push_back(e);
  }
  return result;
}

class Routing {
 public:
  Routing(std::vector<Int32s> choices, std::int64_t top_k, std::int64_t experts, std::int64_t capacity,
          CapacityPadding padding)
      : choices_(std::move(choices)),
        probabilities_(DType::kFp32, static_cast<std::int64_t>(choices_.size()), 2 * top_k,
                       probabilities_of(choices_, 11)),
        expert_rows_(Int32s(static_cast<std::size_t>(experts), -7)),
        row_of_copy_(Int32s(choices_.size() * static_cast<std::size_t>(top_k), -7)),
        copy_of_row_(Int32s(static_cast<std::size_t>(std::max(experts * capacity, top_k * std::ssize(choices_))), -7)),
        map_{std::ssize(choices_), top_k, experts, capacity, padding, expert_rows_.data(), row_of_copy_.data(),
             copy_of_row_.data()} {
    expect_ok(backend().build_routing(stream(), {probabilities_.view(), map_}));
  }
  [[nodiscard]] const RoutingMap& map() const { return map_; }
  [[nodiscard]] const DeviceMatrix& probabilities() const { return probabilities_; }
  [[nodiscard]] Int32s expert_rows() const { return expert_rows_.values(); }
  [[nodiscard]] Int32s row_of_copy() const { return row_of_copy_.values(); }
  [[nodiscard]] std::int64_t rows() const {
    const Int32s n = expert_rows();
    return std::accumulate(n.begin(), n.end(), std::int64_t{0});
  }
  [[nodiscard]] Int32s copy_of_row() const {
    Int32s all = copy_of_row_.values();
    all.resize(static_cast<std::size_t>(rows()));
    return all;
  }
  [[nodiscard]] double weight(std::int64_t copy) const {
    const std::int64_t k = map_.top_k;
    return probabilities_.values()[static_cast<std::size_t>(copy / k * 2 * k + copy % k)];
  }

 private:
  std::vector<Int32s> choices_;
  DeviceMatrix probabilities_;
  DeviceIndices expert_rows_, row_of_copy_, copy_of_row_;
  RoutingMap map_;
};

std::vector<Int32s> random_choices(std::int64_t tokens, std::int64_t k, std::int64_t experts, std::uint64_t seed) {
  Pcg32 random(seed);
  std::vector<Int32s> choices;
  for (std::int64_t t = 0; t < tokens; ++t) {
    Int32s all(static_cast<std::size_t>(experts));
    std::iota(all.begin(), all.end(), 0);
    for (std::int64_t i = 0; i < k; ++i) {
      const std::int64_t other = i + random.below(static_cast<std::uint32_t>(experts - i));
      std::swap(all[static_cast<std::size_t>(i)], all[static_cast<std::size_t>(other)]);
    }
    choices.emplace_back(all.begin(), all.begin() + k);
  }
  return choices;
}

TEST(RoutingTest, CopiesStandByExpertThenToken) {
  // Tokens choose (2, 0), (0, 1), (2, 1); copies are numbered 0 to 5. Expert 0: copies 1, 2; 1: 3, 5; 2: 0, 4; 3: none.
  const Routing r({{2, 0}, {0, 1}, {2, 1}}, 2, 4, 0, CapacityPadding::kNone);
  EXPECT_EQ(r.expert_rows(), (Int32s{2, 2, 2, 0}));
  EXPECT_EQ(r.copy_of_row(), (Int32s{1, 2, 3, 5, 0, 4}));
  EXPECT_EQ(r.row_of_copy(), (Int32s{4, 0, 1, 2, 5, 3}));
}

TEST(RoutingTest, CapacityKeepsTheFirstCopies) {
  const Routing r({{2, 0}, {0, 1}, {2, 1}}, 2, 4, 1, CapacityPadding::kNone);
  EXPECT_EQ(r.expert_rows(), (Int32s{1, 1, 1, 0}));
  EXPECT_EQ(r.copy_of_row(), (Int32s{1, 3, 0}));
  EXPECT_EQ(r.row_of_copy(), (Int32s{2, 0, -1, 1, -1, -1}));
}

TEST(RoutingTest, PaddingFillsEveryExpert) {
  const Routing r({{2}, {0}, {2}}, 1, 3, 2, CapacityPadding::kFull);
  EXPECT_EQ(r.expert_rows(), (Int32s{2, 2, 2}));
  EXPECT_EQ(r.copy_of_row(), (Int32s{1, -1, -1, -1, 0, 2}));
  EXPECT_EQ(r.row_of_copy(), (Int32s{4, 0, 5}));
}

// The worked example of the header, and a copy for each of the experts elsewhere.
TEST(RoutingTest, RowsForExpertsOfThisRankAlone) {
  const DeviceMatrix p(DType::kFp32, 2, 4, {0.5, 0.5, 2.0, 0.0, 0.5, 0.5, 3.0, 1.0});
  const DeviceIndices rows(Int32s(2, -7)), of_copy(Int32s(4, -7)), of_row(Int32s(4, -7));
  RoutingMap map{2, 2, 2, 0, CapacityPadding::kNone, rows.data(), of_copy.data(), of_row.data()};
  map.first_expert = 2;
  map.all_experts = 4;
  expect_ok(backend().build_routing(stream(), {p.view(), map}));
  EXPECT_EQ(rows.values(), (Int32s{1, 1}));
  EXPECT_EQ(of_copy.values(), (Int32s{0, -1, 1, -1}));
  EXPECT_EQ(of_row.values(), (Int32s{0, 2, -1, -1}));
  map.first_expert = 3;
  EXPECT_THAT(refusal(backend().build_routing(stream(), {p.view(), map})), ::testing::HasSubstr("not among all"));
}

// The worked example of the header: both tokens visit both parts. Then experts 2 and 1 change places: token 0 has both in part 0.
TEST(RoutingTest, VisitsHaveARowForEveryPart) {
  const DeviceMatrix p(DType::kFp32, 2, 4, {0.5, 0.5, 2.0, 0.0, 0.5, 0.5, 3.0, 1.0});
  const DeviceIndices rows(Int32s(2, -7)), of_copy(Int32s(4, -7)), of_row(Int32s(4, -7)), slots(Int32s{0, 2, 1, 3});
  RoutingMap map{2, 2, 2, 0, CapacityPadding::kNone, rows.data(), of_copy.data(), of_row.data()};
  map.all_experts = 4;
  map.chosen = 2;
  map.part_slots = 2;
  expect_ok(backend().build_routing(stream(), {p.view(), map}));
  EXPECT_EQ(rows.values(), (Int32s{2, 2}));
  EXPECT_EQ(of_copy.values(), (Int32s{0, 2, 1, 3}));
  EXPECT_EQ(of_row.values(), (Int32s{0, 2, 1, 3}));
  map.slots = slots.data();
  expect_ok(backend().build_routing(stream(), {p.view(), map}));
  EXPECT_EQ(rows.values(), (Int32s{1, 1}));
  EXPECT_EQ(of_copy.values(), (Int32s{0, -1, -1, 1}));
  EXPECT_EQ(of_row.values(), (Int32s{0, 3, -1, -1}));
  // Part 1 alone, from its slot on, in parts of one slot: experts 1 and 3 after the change.
  map.first_expert = 2;
  map.part_slots = 1;
  expect_ok(backend().build_routing(stream(), {p.view(), map}));
  EXPECT_EQ(rows.values(), (Int32s{1, 1}));
  EXPECT_EQ(of_copy.values(), (Int32s{-1, -1, 0, 1}));
  map.part_slots = 2;
  EXPECT_THAT(refusal(backend().build_routing(stream(), {p.view(), map})), ::testing::HasSubstr("not among all"));
  map.part_slots = 0;
  EXPECT_THAT(refusal(backend().build_routing(stream(), {p.view(), map})), ::testing::HasSubstr("need slots"));
}

// 700 tokens with 4 of 40 experts in 5 parts: rows by part, then token; moved there and summed up again each token comes back once
// for each part that it visits.
TEST(RoutingTest, VisitsGoThereAndBack) {
  const std::int64_t tokens = 700, k = 4, experts = 40, parts = 5, columns = 24;
  const auto choices = random_choices(tokens, k, experts, 5);
  const DeviceMatrix p(DType::kFp32, tokens, 2 * k, probabilities_of(choices, 3));
  const DeviceIndices rows(Int32s(parts, -7)), of_copy(Int32s(tokens * parts, -7)), of_row(Int32s(tokens * parts, -7));
  RoutingMap map{tokens, parts, parts, 0, CapacityPadding::kNone, rows.data(), of_copy.data(), of_row.data()};
  map.all_experts = experts;
  map.chosen = k;
  map.part_slots = experts / parts;
  expect_ok(backend().build_routing(stream(), {p.view(), map}));
  Int32s expected_rows, visits(static_cast<std::size_t>(tokens), 0);
  Int32s expected_copies;
  for (std::int32_t part = 0; part < parts; ++part) {
    const std::size_t before = expected_copies.size();
    for (std::int32_t token = 0; token < tokens; ++token) {
      bool visited = false;
      for (const std::int32_t expert : choices[static_cast<std::size_t>(token)])
        visited = visited || expert / (experts / parts) == part;
      if (!visited) continue;
      expected_copies.push_back(token * static_cast<std::int32_t>(parts) + part);
      ++visits[static_cast<std::size_t>(token)];
    }
    expected_rows.push_back(static_cast<std::int32_t>(expected_copies.size() - before));
  }
  EXPECT_EQ(rows.values(), expected_rows);
  Int32s copies = of_row.values();
  copies.resize(expected_copies.size());
  EXPECT_EQ(copies, expected_copies);
  const Values numbers = random_values(9, tokens * columns);
  const DeviceMatrix x(DType::kFp32, tokens, columns, numbers);
  const DeviceMatrix y(DType::kFp32, std::ssize(expected_copies), columns);
  const DeviceMatrix sums(DType::kFp32, tokens, columns);
  expect_ok(backend().permute(stream(), {map, x.view(), std::nullopt, y.view(), std::nullopt}));
  expect_ok(backend().unpermute(stream(), {map, y.view(), std::nullopt, sums.view()}));
  const Values back = sums.values();
  for (std::size_t i = 0; i < back.size(); ++i)
    EXPECT_FLOAT_EQ(static_cast<float>(back[i]),
                    static_cast<float>(numbers[i]) * static_cast<float>(visits[i / static_cast<std::size_t>(columns)]));
}

// Experts 0 and 1 have changed places: token 0 chose (2, 0), token 1 (1, 0).
TEST(RoutingTest, RowsAreInTheOrderOfSlots) {
  const DeviceMatrix p(DType::kFp32, 2, 4, {0.5, 0.5, 2.0, 0.0, 0.5, 0.5, 1.0, 0.0});
  const DeviceIndices rows(Int32s(3, -7)), of_copy(Int32s(4, -7)), of_row(Int32s(4, -7)), slots(Int32s{1, 0, 2});
  RoutingMap map{2, 2, 3, 0, CapacityPadding::kNone, rows.data(), of_copy.data(), of_row.data()};
  map.slots = slots.data();
  expect_ok(backend().build_routing(stream(), {p.view(), map}));
  EXPECT_EQ(rows.values(), (Int32s{1, 2, 1}));
  EXPECT_EQ(of_copy.values(), (Int32s{3, 1, 0, 2}));
  EXPECT_EQ(of_row.values(), (Int32s{2, 1, 3, 0}));
}

TEST(RoutingTest, RefusesAnExpertThatThereIsNot) {
  const DeviceMatrix p(DType::kFp32, 1, 2, {0.5, 3.0});
  const DeviceIndices rows(Int32s(3, -7)), of_copy(Int32s(1, -7)), of_row(Int32s(1, -7));
  const RoutingMap map{1, 1, 3, 0, CapacityPadding::kNone, rows.data(), of_copy.data(), of_row.data()};
  EXPECT_THAT(refusal(backend().build_routing(stream(), {p.view(), map})), ::testing::HasSubstr("there is not"));
  EXPECT_EQ(rows.values(), Int32s(3, -7));
  const RoutingMap padded{1, 1, 3, 0, CapacityPadding::kFull, rows.data(), of_copy.data(), of_row.data()};
  EXPECT_THAT(refusal(backend().build_routing(stream(), {p.view(), padded})), ::testing::HasSubstr("needs a capacity"));
}

struct Case {
  std::int64_t tokens, top_k, experts, capacity;
  CapacityPadding padding;
};
constexpr Case kCases[] = {{0, 2, 4, 0, CapacityPadding::kNone},  {1, 1, 1, 0, CapacityPadding::kNone},
                           {13, 2, 5, 0, CapacityPadding::kNone}, {13, 3, 5, 4, CapacityPadding::kNone},
                           {9, 2, 6, 4, CapacityPadding::kFull},  {3, 1, 40, 0, CapacityPadding::kNone}};
constexpr std::int64_t kWidth = 11;

class PermuteTest : public InBothFormats {};

TEST_P(PermuteTest, CopiesAndTheirGradients) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(::testing::Message() << c.tokens << " tokens, capacity " << c.capacity);
    const Routing r(random_choices(c.tokens, c.top_k, c.experts, 5), c.top_k, c.experts, c.capacity, c.padding);
    const Int32s copies = r.copy_of_row();
    const DeviceMatrix x(GetParam(), c.tokens, kWidth, random_values(1, c.tokens * kWidth));
    const DeviceMatrix y(GetParam(), r.rows(), kWidth);
    const DeviceMatrix w(DType::kFp32, r.rows(), 1);
    expect_ok(backend().permute(stream(), {r.map(), x.view(), r.probabilities().view(), y.view(), w.view()}));
    const DeviceMatrix gy(GetParam(), r.rows(), kWidth, random_values(2, r.rows() * kWidth));
    const DeviceMatrix gw(DType::kFp32, r.rows(), 1, random_values(3, r.rows()));
    const DeviceMatrix gx(GetParam(), c.tokens, kWidth);
    const DeviceMatrix gp(DType::kFp32, c.tokens, 2 * c.top_k);
    expect_ok(backend().permute_grad(stream(), {r.map(), gy.view(), gw.view(), gx.view(), gp.view()}));

    const Values xs = x.values(), gys = gy.values(), gws = gw.values();
    Values expected_y, expected_w, expected_gx(xs.size(), 0.0);
    Values expected_gp(static_cast<std::size_t>(c.tokens * 2 * c.top_k), 0.0);
    for (std::size_t row = 0; row < copies.size(); ++row) {
      const std::int64_t token = copies[row] / c.top_k;
      for (std::int64_t i = 0; i < kWidth; ++i) {
        const auto at = static_cast<std::size_t>(token * kWidth + i);
        expected_y.push_back(copies[row] < 0 ? 0.0 : xs[at]);
        if (copies[row] >= 0) expected_gx[at] += gys[row * kWidth + static_cast<std::size_t>(i)];
      }
      expected_w.push_back(copies[row] < 0 ? 0.0 : r.weight(copies[row]));
      if (copies[row] >= 0)
        expected_gp[static_cast<std::size_t>(token * 2 * c.top_k + copies[row] % c.top_k)] = gws[row];
    }
    EXPECT_EQ(y.values(), expected_y);
    EXPECT_EQ(w.values(), expected_w);
    expect_close("gx", gx.values(), expected_gx, GetParam());
    EXPECT_EQ(gp.values(), expected_gp);
  }
}

TEST_P(PermuteTest, SumsOfCopiesAndTheirGradients) {
  for (const Case& c : kCases)
    for (const bool weighted : {false, true}) {
      SCOPED_TRACE(::testing::Message() << c.tokens << " tokens, capacity " << c.capacity << ", weighted " << weighted);
      const Routing r(random_choices(c.tokens, c.top_k, c.experts, 6), c.top_k, c.experts, c.capacity, c.padding);
      const Int32s copies = r.copy_of_row();
      const std::optional<MatrixView> p = weighted ? std::optional<MatrixView>(r.probabilities().view()) : std::nullopt;
      const DeviceMatrix y(GetParam(), r.rows(), kWidth, random_values(1, r.rows() * kWidth));
      const DeviceMatrix x(GetParam(), c.tokens, kWidth);
      expect_ok(backend().unpermute(stream(), {r.map(), y.view(), p, x.view()}));
      const DeviceMatrix gx(GetParam(), c.tokens, kWidth, random_values(2, c.tokens * kWidth));
      const DeviceMatrix gy(GetParam(), r.rows(), kWidth);
      const DeviceMatrix gp(DType::kFp32, c.tokens, 2 * c.top_k);
      const std::optional<MatrixView> gp_wanted = weighted ? std::optional<MatrixView>(gp.view()) : std::nullopt;
      expect_ok(backend().unpermute_grad(stream(), {r.map(), gx.view(), p, y.view(), gy.view(), gp_wanted}));

      const Values ys = y.values(), gxs = gx.values();
      Values expected_x(gxs.size(), 0.0), expected_gy,
          expected_gp(static_cast<std::size_t>(c.tokens * 2 * c.top_k), 0.0);
      for (std::size_t row = 0; row < copies.size(); ++row) {
        const double weight = copies[row] < 0 ? 0.0 : weighted ? r.weight(copies[row]) : 1.0;
        const std::int64_t token = std::max(copies[row], 0) / c.top_k;
        for (std::int64_t i = 0; i < kWidth; ++i) {
          const auto at = static_cast<std::size_t>(token * kWidth + i);
          const double value = ys[row * kWidth + static_cast<std::size_t>(i)];
          expected_gy.push_back(copies[row] < 0 ? 0.0 : weight * gxs[at]);
          if (copies[row] < 0) continue;
          expected_x[at] += weight * value;
          expected_gp[static_cast<std::size_t>(token * 2 * c.top_k + copies[row] % c.top_k)] += value * gxs[at];
        }
      }
      expect_close("x", x.values(), expected_x, GetParam());
      expect_close("gy", gy.values(), expected_gy, GetParam());
      if (weighted)
        expect_close("gp", gp.values(), expected_gp, DType::kFp32);
      else
        EXPECT_TRUE(gp.untouched());
    }
}

TEST_P(PermuteTest, SortsBlocksByExpertAndBack) {
  const std::vector<std::vector<std::int64_t>> tables = {
      {1, 2, 3, 4}, {0, 0, 0, 5}, {0, 0, 0, 0}, {}, {2, 0, 1, 3, 0, 4}};
  for (const std::vector<std::int64_t>& counts : tables) {
    const std::int64_t rows = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
    const std::int64_t experts = counts.empty() ? 0 : 2;
    const DeviceMatrix x(GetParam(), rows, 3, random_values(1, rows * 3));
    const DeviceMatrix sorted(GetParam(), rows, 3), back(GetParam(), rows, 3);
    expect_ok(backend().sort_rows(stream(), {counts, experts, RowOrder::kByExpert, x.view(), sorted.view()}));
    expect_ok(backend().sort_rows(stream(), {counts, experts, RowOrder::kBySource, sorted.view(), back.view()}));
    const Values xs = x.values();
    Values expected;
    for (std::int64_t e = 0; e < experts; ++e) {
      std::int64_t row = 0;
      for (std::size_t block = 0; block < counts.size(); row += counts[block++])
        if (static_cast<std::int64_t>(block) % experts == e)
          expected.insert(expected.end(), xs.begin() + row * 3, xs.begin() + (row + counts[block]) * 3);
    }
    EXPECT_EQ(sorted.values(), expected);
    EXPECT_EQ(back.values(), xs);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, PermuteTest, ::testing::Values(DType::kFp32, DType::kBf16), format_name);

TEST(SortRowsTest, ExampleOfTheHeader) {
  const DeviceMatrix x(DType::kFp32, 10, 1, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  const DeviceMatrix y(DType::kFp32, 10, 1);
  const std::int64_t counts[] = {1, 2, 3, 4};
  expect_ok(backend().sort_rows(stream(), {counts, 2, RowOrder::kByExpert, x.view(), y.view()}));
  EXPECT_EQ(y.values(), (Values{0, 3, 4, 5, 1, 2, 6, 7, 8, 9}));
}

TEST_P(PermuteTest, MovesRunsOfRowsAndNothingElse) {
  const DeviceMatrix x(GetParam(), 5, 3, random_values(1, 15));
  const DeviceMatrix y(GetParam(), 4, 3, random_values(2, 12));
  const Values xs = x.values(), before = y.values();
  const RowRun runs[] = {{3, 0, 2}, {1, 3, 1}};
  expect_ok(backend().move_rows(stream(), {runs, x.view(), y.view()}));
  Values expected(xs.begin() + 9, xs.end());
  expected.insert(expected.end(), before.begin() + 6, before.begin() + 9);
  expected.insert(expected.end(), xs.begin() + 3, xs.begin() + 6);
  EXPECT_EQ(y.values(), expected);
  expect_ok(backend().move_rows(stream(), {{}, x.view(), y.view()}));
  EXPECT_EQ(y.values(), expected);
}

TEST(DealRowsTest, ExampleOfTheHeader) {
  Routing r({{0, 1}, {0, 0}}, 2, 2, 0, CapacityPadding::kNone);
  EXPECT_EQ(r.row_of_copy(), (Int32s{0, 3, 1, 2}));
  const RowRun runs[] = {{0, 0, 1}, {1, 2, 2}, {3, 1, 1}};
  expect_ok(backend().deal_rows(stream(), {r.map(), runs}));
  EXPECT_EQ(r.copy_of_row(), (Int32s{0, 1, 2, 3}));
  EXPECT_EQ(r.row_of_copy(), (Int32s{0, 1, 2, 3}));
}

// Rows of padding move with those of their slot, dropped copies have none.
TEST(DealRowsTest, PaddingMovesToo) {
  const Routing r({{0, 1}, {0, 1}, {0, 1}}, 2, 2, 2, CapacityPadding::kFull);
  EXPECT_EQ(r.copy_of_row(), (Int32s{0, 2, 1, 3}));
  const RowRun runs[] = {{0, 1, 1}, {1, 3, 1}, {2, 0, 1}, {3, 2, 1}};
  expect_ok(backend().deal_rows(stream(), {r.map(), runs}));
  EXPECT_EQ(r.copy_of_row(), (Int32s{1, 0, 3, 2}));
  EXPECT_EQ(r.row_of_copy(), (Int32s{1, 0, 3, 2, -1, -1}));
  const RowRun gap[] = {{0, 0, 1}, {2, 1, 2}};
  EXPECT_THAT(refusal(backend().deal_rows(stream(), {r.map(), gap})), ::testing::HasSubstr("do not follow"));
  const RowRun outside[] = {{0, 1, 4}};
  EXPECT_THAT(refusal(backend().deal_rows(stream(), {r.map(), outside})), ::testing::HasSubstr("not inside the map"));
}

TEST(PermuteErrorTest, RefusesWhatDoesNotFit) {
  const Routing r({{1, 0}, {0, 1}}, 2, 2, 0, CapacityPadding::kNone);
  const DeviceMatrix x(DType::kFp32, 2, 3, random_values(1, 6)), y(DType::kFp32, 4, 3), short_y(DType::kFp32, 3, 3);
  const DeviceMatrix other(DType::kBf16, 4, 3), w(DType::kFp32, 4, 1);
  const auto permute = [&](const DeviceMatrix& to, const std::optional<MatrixView>& weights) {
    return refusal(backend().permute(stream(), {r.map(), x.view(), {}, to.view(), weights}));
  };
  EXPECT_THAT(permute(short_y, {}), ::testing::HasSubstr("y is 3 x 3 and should be 4 x 3"));
  EXPECT_THAT(permute(other, {}), ::testing::HasSubstr("y is bf16 and should be fp32"));
  EXPECT_THAT(permute(y, w.view()), ::testing::HasSubstr("weights need the probabilities"));
  const DeviceMatrix gp(DType::kFp32, 2, 4);
  EXPECT_THAT(refusal(backend().unpermute_grad(stream(), {r.map(), x.view(), {}, {}, y.view(), gp.view()})),
              ::testing::HasSubstr("gp needs"));
  const std::int64_t odd[] = {1, 2, 1};
  EXPECT_THAT(refusal(backend().sort_rows(stream(), {odd, 2, RowOrder::kByExpert, y.view(), y.view()})),
              ::testing::HasSubstr("whole rows of experts"));
  const std::int64_t negative[] = {5, -1};
  EXPECT_THAT(refusal(backend().sort_rows(stream(), {negative, 2, RowOrder::kByExpert, y.view(), y.view()})),
              ::testing::HasSubstr("negative"));
  const RowRun too_far[] = {{3, 0, 2}};
  EXPECT_THAT(refusal(backend().move_rows(stream(), {too_far, y.view(), y.view()})),
              ::testing::HasSubstr("leaves its matrix"));
  EXPECT_TRUE(y.untouched());
}

}  // namespace
}  // namespace moesim::kernel_testing
