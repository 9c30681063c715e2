#include "sim/plan/plan.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <numeric>

#include "plan_testing.hpp"
#include "sim/lower/moe_schedule.hpp"

namespace moesim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<int> split_of(int layers, int pp, int vpp = 1, std::string pipeline = "1f1b") {
  ModelShape model = mixtral_like();
  model.layers.assign(static_cast<std::size_t>(layers), 0);
  Plan plan;
  plan.layout.sizes.pp = pp;
  plan.layout.sizes.vpp = vpp;
  plan.pipeline = std::move(pipeline);
  return split_layers(plan, model).value();
}

TEST(SplitLayers, EvenWhereItDivides) { EXPECT_THAT(split_of(32, 4), ElementsAre(8, 8, 8, 8)); }

TEST(SplitLayers, EmbeddingAndHeadTakeThePlaceOfALayer) {
  EXPECT_THAT(split_of(30, 4), ElementsAre(7, 8, 8, 7));  // 30 + 2 divides by 4
  EXPECT_THAT(split_of(31, 4), ElementsAre(8, 8, 8, 7));  // 31 + 1 divides by 4: the head stands for a layer
  EXPECT_THAT(split_of(61, 8), ElementsAre(7, 7, 8, 8, 8, 8, 8, 7));  // 5 longer stages, short ones first at the ends
  EXPECT_THAT(split_of(29, 4), ElementsAre(7, 7, 8, 7));
}

TEST(SplitLayers, AlwaysConservesLayers) {
  for (int stages = 1; stages <= 12; ++stages)
    for (int layers = stages; layers <= 64; ++layers) {
      const auto parts = split_of(layers, stages);
      EXPECT_EQ(std::accumulate(parts.begin(), parts.end(), 0), layers);
      EXPECT_LE(*std::max_element(parts.begin(), parts.end()) - *std::min_element(parts.begin(), parts.end()), 1);
    }
}

TEST(SplitLayers, CountsVirtualStagesBySchedule) {
  EXPECT_EQ(split_of(32, 4, 2, "interleaved").size(), 8U);
  EXPECT_EQ(split_of(32, 4, 2, "zbv").size(), 8U);
  EXPECT_EQ(split_of(32, 4, 2, "dualpipe").size(), 4U);  // both copies hold the same four
}

std::string split_error(std::vector<int> own, int pp) {
  Plan plan;
  plan.layout.sizes.pp = pp;
  plan.stage_layers = std::move(own);
  const auto parts = split_layers(plan, mixtral_like());  // 32 layers
  return parts ? "accepted" : parts.error().what;
}

TEST(SplitLayers, TakesThePlansOwnList) {
  EXPECT_EQ(split_error({0, 16, 16, 0}, 4), "accepted");  // the ends hold the embedding and the head
  EXPECT_THAT(split_error({16, 16, 16, 16}, 4), HasSubstr("64 layers in total, the model has 32"));
  EXPECT_THAT(split_error({8, 8, 8, 7}, 4), HasSubstr("31 layers in total, the model has 32"));
  EXPECT_THAT(split_error({16, 16}, 4), HasSubstr("2 numbers for 4 virtual stages"));
  EXPECT_THAT(split_error({16, 0, 8, 8}, 4), HasSubstr("0 layers to virtual stage 1"));
  EXPECT_THAT(split_error({-1, 17, 8, 8}, 4), HasSubstr("-1 layers to virtual stage 0"));
  EXPECT_THAT(split_error({}, 40), HasSubstr("32 layers cannot fill 40 virtual stages"));
}

TEST(RunName, FollowsTheHabitOfTheField) {
  Plan plan;
  plan.layout.sizes = {.tp = 2, .cp = 1, .pp = 8, .vpp = 4, .dp = 64, .ep = 64, .esp = 1, .edp = 2};
  plan.micro_batch = 1;
  plan.global_batch = 8192;
  EXPECT_EQ(run_name(plan), "TP2PP8EP64CP1VPP4-MBS1GBS8192");
  plan.layout.sizes.esp = 2;
  EXPECT_EQ(run_name(plan), "TP2PP8EP64CP1VPP4ETP2-MBS1GBS8192");
}

TEST(PaddedVocab, IsAMultipleOf128PerTpRank) {
  EXPECT_EQ(padded_vocab(32000, 8), 32768);  // 1024 * 32
  EXPECT_EQ(padded_vocab(32000, 1), 32000);  // 128 * 250
  EXPECT_EQ(padded_vocab(1, 1), 128);
}

TEST(PlanNotes, TellWhatIsAllowedButWorthKnowing) {
  Plan plan = mixtral_plan();
  EXPECT_TRUE(plan_notes(plan, mixtral_like()).empty());
  plan.layout.sizes.tp = 16;  // 8 key/value heads
  plan.seq_length = 65536;    // beyond 32768
  plan.layout.sizes.pp = 3;   // 32 layers
  EXPECT_THAT(plan_notes(plan, mixtral_like()),
              ElementsAre("8 key/value heads on 16 TP ranks: each is held 2 times",
                          "vocabulary padded from 32000 to 32768 rows (a multiple of 128 x TP)",
                          "sequence length 65536 exceeds the model's 32768 positions",
                          "uneven layers per virtual stage: 11 11 10"));
}

TEST(PlanNotes, SayWhatDeepepTakesForNodes) {
  Plan plan;
  plan.layout.sizes = {.dp = 8, .ep = 8};
  plan.moe_schedule = "deepep";
  EXPECT_THAT(plan_notes(plan, mixtral_like()), testing::Contains(testing::HasSubstr("it would cross to a node once")));
  plan.layout.sizes.ep_on_node = 4;
  EXPECT_THAT(plan_notes(plan, mixtral_like()),
              testing::Contains(testing::HasSubstr("4 of the 8 members of an EP group on each node")));
  plan.layout.sizes.ep_on_node = 8;
  EXPECT_THAT(plan_notes(plan, mixtral_like()), testing::Contains(testing::HasSubstr("stand on one node: one hop")));
}

// A schedule that nobody here has heard of has its say.
TEST(PlanNotes, HaveThoseOfTheMoeSchedule) {
  class Noted final : public MoeSchedule {
   public:
    std::string_view name() const override { return "noted"; }
    std::string_view description() const override { return "A schedule with a note"; }
    Status check(const Plan&, const MoeShape&) const override { return {}; }
    std::vector<std::string> notes(const Plan& plan) const override { return {fmt::format("EP {}", plan.sizes().ep)}; }
    TensorId forward(MoeLayerBuilder&, TensorId x) const override { return x; }
  };
  static const Noted noted;
  add_moe_schedule(noted);
  Plan plan;
  plan.layout.sizes = {.dp = 8, .ep = 8};
  plan.moe_schedule = "noted";
  EXPECT_THAT(plan_notes(plan, mixtral_like()), testing::Contains("EP 8"));
  ModelShape dense = mixtral_like();
  for (LayerShape& kind : dense.kinds) kind.moe.reset();
  EXPECT_THAT(plan_notes(plan, dense), testing::Not(testing::Contains("EP 8")));
}

}  // namespace
}  // namespace moesim
