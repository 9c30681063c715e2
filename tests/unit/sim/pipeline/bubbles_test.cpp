// The closed forms of the papers, exactly. F, I, W: forward, input half and weight half of the backward of one chunk;
// B = I + W is the whole backward. p stages, m micro-batches, v chunks per stage. All times are small integers, so that
// double arithmetic is exact.
#include <gmock/gmock.h>

#include "pipeline_testing.hpp"

namespace moesim {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

constexpr ChunkTimes kTimes[] = {{1, 1, 1}, {2, 2, 1}, {2, 3, 1}, {3, 3, 2}, {1, 2, 1}};

TEST(Bubbles, GpipeAndOneForwardOneBackward) {  // (p-1)(F+B)
  for (const std::string_view name : {"gpipe", "1f1b"})
    for (const auto& [p, m] : {std::pair{1, 3}, {2, 2}, {4, 8}, {8, 8}, {5, 13}, {4, 2}})
      for (const ChunkTimes& t : kTimes) {
        const double both = t.forward + t.input + t.weight;
        const PipelineTimes times = played(name, {p, m, 1}, t);
        EXPECT_THAT(times.bubble, Each((p - 1) * both)) << name << " " << p << " " << m;
        EXPECT_EQ(times.total, (m + p - 1) * both);  // rate (p-1)/(m+p-1)
      }
}

TEST(Bubbles, Interleaved) {
  // (p-1)(F+B) in times of a chunk, which are 1/v of a stage's: rate (p-1)/(mv+p-1).
  for (const auto& [p, m, v] : {std::tuple{2, 4, 2}, {4, 4, 2}, {4, 8, 3}, {8, 16, 2}, {3, 9, 4}})
    for (const ChunkTimes& t : kTimes) {
      const double both = t.forward + t.input + t.weight;
      const PipelineTimes times = played("interleaved", {p, m, v}, t);
      EXPECT_THAT(times.bubble, Each((p - 1) * both)) << p << " " << m << " " << v;
      EXPECT_EQ(times.total, (m * v + p - 1) * both);
    }
}

TEST(Bubbles, Zb1p) {  // (p-1)(F+B-2W) = (p-1)(F+I-W) as long as W is not longer than what it hides behind
  for (const auto& [p, m] : {std::pair{1, 3}, {2, 4}, {4, 4}, {4, 8}, {8, 24}, {3, 9}})
    for (const ChunkTimes& t : kTimes)
      EXPECT_THAT(played("zb1p", {p, m, 1}, t).bubble, Each((p - 1) * (t.forward + t.input - t.weight)))
          << p << " " << m;
  // With W longer than I the cool-down is bound by the weight halves and only the filling, (p-1)F, remains.
  EXPECT_THAT(played("zb1p", {4, 8, 1}, {1, 1, 2}).bubble, Each(3));
}

TEST(Bubbles, Zb1pRateIsGivenAgainstTheStepOf1f1b) {
  // With F = I = W = 1 the bubble is p-1, a third of 1F1B's. The often quoted rate (p-1)/(3(m+p-1)) divides it by the
  // step of 1F1B, 3(m+p-1); of its own, shorter step it is (p-1)/(3m+p-1).
  for (const auto& [p, m] : {std::pair{4, 8}, {8, 32}}) {
    const PipelineTimes zb1p = played("zb1p", {p, m, 1}, {1, 1, 1});
    const PipelineTimes plain = played("1f1b", {p, m, 1}, {1, 1, 1});
    EXPECT_EQ(zb1p.bubble[0] / plain.total, (p - 1.0) / (3.0 * (m + p - 1)));
    EXPECT_EQ(zb1p.bubble[0] / zb1p.total, (p - 1.0) / (3.0 * m + p - 1));
  }
}

TEST(Bubbles, Zbv) {
  // Equal F, I, W = 1 and a filled pipeline, m >= 2p-1: the filling p-1 remains of a step of 6m+p-1 chunk times.
  for (const auto& [p, m] : {std::pair{1, 4}, {2, 3}, {2, 4}, {4, 7}, {4, 16}, {8, 15}, {8, 24}}) {
    const PipelineTimes times = played("zbv", {p, m, 2}, {1, 1, 1});
    EXPECT_THAT(times.bubble, Each(p - 1)) << p << " " << m;
    EXPECT_EQ(times.total, 6 * m + p - 1);
  }
  // Fewer micro-batches than the V is deep: the last gradients travel down a V that nothing else fills.
  EXPECT_THAT(played("zbv", {4, 4, 2}, {1, 1, 1}).bubble, Each(6));
}

TEST(Bubbles, DualPipe) {
  // (p/2-1)(F&B + B - 3W). Exact where a forward takes as long as an input half, as the paper draws it; F&B is the time
  // of an overlapped pair. Stages away from the middle may wait less: their pairs replace unpaired slots, which changes
  // their busy time when F&B is not F + B, so the paper's form is that of the middle stages, the largest.
  for (const auto& [p, m] : {std::pair{2, 4}, {4, 8}, {4, 12}, {8, 16}, {8, 20}, {8, 32}})
    for (const auto& [t, pair] :
         {std::pair{ChunkTimes{1, 1, 1}, 3.0}, {ChunkTimes{2, 2, 1}, 5.0}, {ChunkTimes{2, 2, 2}, 5.0}}) {
      const PipelineTimes times = played("dualpipe", {p, m, 2}, t, pair);
      const double expected = (p / 2 - 1) * (pair + t.input + t.weight - 3 * t.weight);
      EXPECT_EQ(*std::max_element(times.bubble.begin(), times.bubble.end()), expected) << p << " " << m << " " << pair;
      EXPECT_EQ(times.bubble[static_cast<std::size_t>(p / 2)], expected);
    }
  // Without gain from overlap (F&B = F + B) all stages are alike.
  EXPECT_THAT(played("dualpipe", {8, 16, 2}, {2, 2, 1}, 5).bubble, Each(15));
  // An input half longer than the forward shortens the wait below the form: 8 instead of (4/2-1)(10 + 8 - 9) = 9.
  EXPECT_THAT(played("dualpipe", {4, 8, 2}, {4, 5, 3}, 10).bubble, Each(8));
}

TEST(Bubbles, DualPipeVIsDualPipeOfTwiceTheStages) {
  for (const auto& [p, m] : {std::pair{1, 2}, {2, 4}, {4, 8}, {4, 13}}) {
    const PipelineTimes folded = played("dualpipev", {p, m, 2}, {2, 2, 1}, 4);
    const PipelineTimes open = played("dualpipe", {2 * p, 2 * m, 2}, {2, 2, 1}, 4);
    EXPECT_EQ(folded.total, open.total);
    for (std::size_t stage = 0; stage < folded.bubble.size(); ++stage)
      EXPECT_EQ(folded.bubble[stage], open.bubble[stage]);
  }
}

TEST(Bubbles, OverlappedOneForwardOneBackward) {
  // p(F+B) + (m-1)F&B; stage s is idle for (p-1)(F+B), as in 1F1B, where nothing is gained.
  for (const auto& [p, m] : {std::pair{1, 3}, {2, 3}, {4, 7}, {4, 16}, {8, 24}})
    for (const auto& [t, pair] :
         {std::pair{ChunkTimes{1, 1, 1}, 3.0}, {ChunkTimes{2, 2, 1}, 4.0}, {ChunkTimes{2, 3, 1}, 5.0}}) {
      const double both = t.forward + t.input + t.weight;
      const PipelineTimes times = played("1f1b-overlap", {p, m, 1}, t, pair);
      EXPECT_EQ(times.total, p * both + (m - 1) * pair) << p << " " << m << " " << pair;
      if (pair == both) {
        EXPECT_THAT(times.bubble, Each((p - 1) * both));
      }
    }
}

TEST(Bubbles, OverlappedInterleavedIsInterleavedWhereNothingIsGained) {
  for (const auto& [p, m, v] : {std::tuple{2, 4, 2}, {4, 8, 3}, {8, 16, 2}}) {
    const PipelineTimes paired = played("interleaved-overlap", {p, m, v}, {2, 2, 1}, 5);
    EXPECT_EQ(paired.total, played("interleaved", {p, m, v}, {2, 2, 1}).total);
    EXPECT_LT(played("interleaved-overlap", {p, m, v}, {2, 2, 1}, 4).total, paired.total);
  }
}

TEST(InFlight, OverlappedHoldsTwiceWhatIsAheadAndBothOfAPair) {
  EXPECT_THAT(stage_peaks("1f1b-overlap", {4, 16, 1}), ElementsAre(8, 6, 4, 2));  // min(2(p-1-s) + 2, m)
  EXPECT_THAT(stage_peaks("1f1b-overlap", {4, 5, 1}), ElementsAre(5, 5, 4, 2));
  EXPECT_THAT(stage_peaks("interleaved-overlap", {2, 8, 2}), ElementsAre(6, 4));  // and (v-1)p of chunks
}

TEST(InFlight, OneForwardOneBackwardHoldsWhatIsAhead) {
  EXPECT_THAT(stage_peaks("1f1b", {4, 8, 1}), ElementsAre(4, 3, 2, 1));  // min(p-s, m)
  EXPECT_THAT(stage_peaks("1f1b", {4, 2, 1}), ElementsAre(2, 2, 2, 1));
}

TEST(InFlight, GpipeHoldsEveryMicroBatch) { EXPECT_THAT(stage_peaks("gpipe", {3, 7, 1}), ElementsAre(7, 7, 7)); }

TEST(InFlight, InterleavedHoldsItsWarmUpAndOneMore) {
  for (const auto& [p, m, v] : {std::tuple{2, 4, 2}, {4, 4, 2}, {4, 16, 3}, {8, 16, 2}}) {
    const auto peaks = stage_peaks("interleaved", {p, m, v});
    for (int s = 0; s < p; ++s)
      EXPECT_EQ(peaks[static_cast<std::size_t>(s)], std::min(2 * (p - 1 - s) + (v - 1) * p + 1, m * v))
          << p << m << v << s;
  }
}

TEST(InFlight, Zb1pHoldsNoMoreThanTheFirstStageOf1f1b) {
  // Holding the weight halves back takes the room that 1F1B leaves on later stages; no stage exceeds p.
  EXPECT_THAT(stage_peaks("zb1p", {4, 8, 1}), ElementsAre(4, 4, 4, 4));
  EXPECT_THAT(stage_peaks("zb1p", {8, 3, 1}), Each(3));
}

TEST(InFlight, ZbvHoldsTwoPChunks) {  // of half a stage each: the p activations of 1F1B's first stage
  EXPECT_THAT(stage_peaks("zbv", {4, 8, 2}), Each(8));
  EXPECT_THAT(stage_peaks("zbv", {8, 24, 2}), Each(16));
}

TEST(InFlight, DualPipeHoldsOneMoreThanStages) {
  EXPECT_THAT(stage_peaks("dualpipe", {4, 8, 2}), Each(5));
  EXPECT_THAT(stage_peaks("dualpipe", {8, 32, 2}), Each(9));
  EXPECT_THAT(stage_peaks("dualpipev", {4, 12, 2}), Each(9));  // 2p+1 chunks of half a stage
}

}  // namespace
}  // namespace moesim
