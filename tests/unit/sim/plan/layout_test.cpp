#include "sim/plan/layout.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>

namespace moesim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Layout layout(const ParallelSizes& sizes, std::string order = "tp-cp-ep-dp-pp", std::vector<RankId> map = {}) {
  auto made = Layout::make({sizes, std::move(order), std::move(map)}, sizes.world());
  EXPECT_TRUE(made.has_value()) << (made ? std::string() : made.error().what);
  return std::move(made).value();
}

// "0 1 | 2 3": all groups of a kind.
std::string groups(const Layout& layout, GroupKind kind) {
  std::string text;
  for (int group = 0; group < layout.group_count(kind); ++group) {
    if (group > 0) text += " | ";
    const auto members = layout.group_at(kind, group);
    for (const RankId rank : members) text += (rank == members.front() ? "" : " ") + std::to_string(rank.value());
  }
  return text;
}

TEST(Layout, ParmExample) {
  // 8 ranks, MP 2, ESP 4: MP and ESP groups are consecutive, EP strides over the ESP groups.
  const Layout parm = layout({.tp = 2, .dp = 4, .ep = 2, .esp = 4, .edp = 1});
  EXPECT_EQ(groups(parm, GroupKind::kTp), "0 1 | 2 3 | 4 5 | 6 7");
  EXPECT_EQ(groups(parm, GroupKind::kEsp), "0 1 2 3 | 4 5 6 7");
  EXPECT_EQ(groups(parm, GroupKind::kEp), "0 4 | 1 5 | 2 6 | 3 7");
  EXPECT_EQ(groups(parm, GroupKind::kDp), "0 2 4 6 | 1 3 5 7");
  EXPECT_EQ(groups(parm, GroupKind::kEpEsp), "0 1 2 3 4 5 6 7");
  EXPECT_EQ(groups(parm, GroupKind::kEdp), "0 | 1 | 2 | 3 | 4 | 5 | 6 | 7");
}

// Two EP groups of 8, of whose members 4 stand on a node.
TEST(Layout, AcrossAndInsideTheNodesOfAnEpGroup) {
  const Layout nodes = layout({.dp = 16, .ep = 8, .edp = 2, .ep_on_node = 4});
  EXPECT_EQ(groups(nodes, GroupKind::kEpAcross), "0 4 | 1 5 | 2 6 | 3 7 | 8 12 | 9 13 | 10 14 | 11 15");
  EXPECT_EQ(groups(nodes, GroupKind::kEpInside), "0 1 2 3 | 4 5 6 7 | 8 9 10 11 | 12 13 14 15");
  EXPECT_EQ(nodes.index_in_group(GroupKind::kEpAcross, RankId(13)), 1);
  EXPECT_EQ(group_name(GroupKind::kEpInside), "ep_inside");
  const Layout alone = layout({.dp = 4, .ep = 4});
  EXPECT_EQ(groups(alone, GroupKind::kEpAcross), groups(alone, GroupKind::kEp));
  EXPECT_EQ(groups(alone, GroupKind::kEpInside), "0 | 1 | 2 | 3");
  LayoutSpec odd;
  odd.sizes = {.dp = 8, .ep = 8, .ep_on_node = 3};
  EXPECT_EQ(check_layout(odd, 8).error().what, "ep_on_node is 3, which does not divide ep (8)");
}

TEST(Layout, DeepSpeedWithExpertTensorParallelism) {
  // World 16, TP 2, EP 4: EP groups are pieces of the strided DP groups. Groups are listed by their first rank.
  const Layout deepspeed = layout({.tp = 2, .dp = 8, .ep = 4, .esp = 2, .edp = 2});
  EXPECT_EQ(groups(deepspeed, GroupKind::kEp), "0 2 4 6 | 1 3 5 7 | 8 10 12 14 | 9 11 13 15");
  EXPECT_EQ(groups(deepspeed, GroupKind::kEdp), "0 8 | 1 9 | 2 10 | 3 11 | 4 12 | 5 13 | 6 14 | 7 15");
  EXPECT_EQ(groups(deepspeed, GroupKind::kDp), "0 2 4 6 8 10 12 14 | 1 3 5 7 9 11 13 15");
}

TEST(Layout, DeepSpeedDataBeforeExpert) {  // use_data_before_expert_parallelism: EP strides over the replicas
  const Layout swapped = layout({.tp = 2, .dp = 8, .ep = 4, .esp = 2, .edp = 2}, "tp-cp-dp-ep-pp");
  EXPECT_EQ(groups(swapped, GroupKind::kEp), "0 4 8 12 | 1 5 9 13 | 2 6 10 14 | 3 7 11 15");
  EXPECT_EQ(groups(swapped, GroupKind::kEdp), "0 2 | 1 3 | 4 6 | 5 7 | 8 10 | 9 11 | 12 14 | 13 15");
}

TEST(Layout, DeepSpeedWithoutExpertTensorParallelism) {
  const Layout plain = layout({.tp = 1, .dp = 8, .ep = 4, .esp = 1, .edp = 2});
  EXPECT_EQ(groups(plain, GroupKind::kEp), "0 1 2 3 | 4 5 6 7");
  EXPECT_EQ(groups(plain, GroupKind::kEdp), "0 4 | 1 5 | 2 6 | 3 7");
}

TEST(Layout, ExampleOfTheHeader) {
  const Layout folded = layout({.tp = 2, .dp = 4, .ep = 4, .esp = 1, .edp = 2});
  EXPECT_EQ(groups(folded, GroupKind::kTp), "0 1 | 2 3 | 4 5 | 6 7");
  EXPECT_EQ(groups(folded, GroupKind::kEp), "0 1 2 3 | 4 5 6 7");
  EXPECT_EQ(groups(folded, GroupKind::kEdp), "0 4 | 1 5 | 2 6 | 3 7");
}

TEST(Layout, AllDenseGroupsOfSixteenRanks) {  // TP 2, CP 2, DP 2, PP 2
  const Layout dense = layout({.tp = 2, .cp = 2, .pp = 2, .dp = 2, .ep = 8, .esp = 1, .edp = 1});
  EXPECT_EQ(groups(dense, GroupKind::kCp), "0 2 | 1 3 | 4 6 | 5 7 | 8 10 | 9 11 | 12 14 | 13 15");
  EXPECT_EQ(groups(dense, GroupKind::kDp), "0 4 | 1 5 | 2 6 | 3 7 | 8 12 | 9 13 | 10 14 | 11 15");
  EXPECT_EQ(groups(dense, GroupKind::kDpCp), "0 2 4 6 | 1 3 5 7 | 8 10 12 14 | 9 11 13 15");
  EXPECT_EQ(groups(dense, GroupKind::kPp), "0 8 | 1 9 | 2 10 | 3 11 | 4 12 | 5 13 | 6 14 | 7 15");
  EXPECT_EQ(groups(dense, GroupKind::kEp), "0 1 2 3 4 5 6 7 | 8 9 10 11 12 13 14 15");
  EXPECT_EQ(dense.group_size(GroupKind::kWorld), 16);
  EXPECT_EQ(dense.group_size(GroupKind::kSelf), 1);
  const auto& at = dense.at(RankId(13));  // 13 = 1 + 2*0 + 4*1 + 8*1
  EXPECT_EQ((std::array{at.tp, at.cp, at.dp, at.pp}), (std::array{1, 0, 1, 1}));
  EXPECT_EQ((std::array{at.esp, at.ep, at.edp}), (std::array{0, 5, 0}));
  EXPECT_EQ(dense.stage(RankId(13)), StageId(1));
}

TEST(Layout, PipelineBeforeDataParallelism) {  // Megatron's --use-tp-pp-dp-mapping, TP 2, PP 2, DP 2, EP 2 with ESP 2
  const Layout swapped = layout({.tp = 2, .pp = 2, .dp = 2, .ep = 2, .esp = 2, .edp = 1}, "tp-cp-pp-ep-dp");
  EXPECT_EQ(groups(swapped, GroupKind::kPp), "0 2 | 1 3 | 4 6 | 5 7");
  EXPECT_EQ(groups(swapped, GroupKind::kDp), "0 4 | 1 5 | 2 6 | 3 7");
  EXPECT_EQ(groups(swapped, GroupKind::kEp), "0 4 | 1 5 | 2 6 | 3 7");
  EXPECT_TRUE(meshes_nest_alike(swapped.spec()));  // 2 ranks inside pp on both meshes
}

TEST(Layout, PipelineInnermost) {
  const Layout inner = layout({.tp = 2, .pp = 2, .dp = 2, .ep = 4, .esp = 1, .edp = 1}, "pp-tp-cp-ep-dp");
  EXPECT_EQ(groups(inner, GroupKind::kPp), "0 1 | 2 3 | 4 5 | 6 7");
  EXPECT_EQ(groups(inner, GroupKind::kTp), "0 2 | 1 3 | 4 6 | 5 7");
  EXPECT_EQ(groups(inner, GroupKind::kEp), "0 2 4 6 | 1 3 5 7");
  EXPECT_THAT(inner.stage_ranks(StageId(1)), ElementsAre(RankId(1), RankId(3), RankId(5), RankId(7)));
}

TEST(Layout, ExpertMeshLiesOverTheRanksOfTheStage) {
  // TP 4 is inside pp: stage 0 stands on ranks 0-3 and 8-11. Its expert mesh (ESP 1, EP 2, EDP 4) has only 2 ranks inside
  // pp and counts through the stage's eight ranks in order.
  const Layout uneven = layout({.tp = 4, .pp = 2, .dp = 2, .ep = 2, .esp = 1, .edp = 4}, "tp-cp-ep-pp-dp");
  EXPECT_FALSE(meshes_nest_alike(uneven.spec()));
  EXPECT_THAT(uneven.stage_ranks(StageId(0)),
              ElementsAre(RankId(0), RankId(1), RankId(2), RankId(3), RankId(8), RankId(9), RankId(10), RankId(11)));
  EXPECT_EQ(groups(uneven, GroupKind::kEp), "0 1 | 2 3 | 4 5 | 6 7 | 8 9 | 10 11 | 12 13 | 14 15");
}

TEST(Layout, DeviceMapMovesTheRanks) {
  // Reversed: logical rank r is physical 3 - r.
  const Layout mapped = layout({.tp = 2, .dp = 2, .ep = 2, .esp = 1, .edp = 2}, "tp-cp-ep-dp-pp",
                               {RankId(3), RankId(2), RankId(1), RankId(0)});
  EXPECT_EQ(groups(mapped, GroupKind::kTp), "3 2 | 1 0");
  EXPECT_EQ(mapped.at(RankId(3)).tp, 0);
  EXPECT_EQ(mapped.index_in_group(GroupKind::kTp, RankId(2)), 1);
  EXPECT_EQ(mapped.group_index(GroupKind::kTp, RankId(0)), 1);
  EXPECT_THAT(mapped.group(GroupKind::kTp, RankId(0)), ElementsAre(RankId(1), RankId(0)));
  EXPECT_THAT(mapped.stage_ranks(StageId(0)), ElementsAre(RankId(0), RankId(1), RankId(2), RankId(3)));
}

TEST(Layout, StagesMirrorEachOther) {
  EXPECT_EQ(groups(layout({.tp = 2, .pp = 4, .esp = 2}), GroupKind::kMirror), "0 6 | 1 7 | 2 4 | 3 5");
  EXPECT_EQ(groups(layout({.pp = 3, .dp = 2, .edp = 2}), GroupKind::kMirror),
            "0 4 | 1 5 | 2 | 3");  // the middle is alone
  EXPECT_EQ(groups(layout({.dp = 2, .edp = 2}), GroupKind::kMirror), "0 | 1");
}

// Whatever the sizes and the order: groups partition the world, agree with the coordinates and index_in_group, and never
// leave a stage (but kPp, kMirror and kWorld).
TEST(Layout, GroupsPartitionTheWorld) {
  std::vector<std::string> tokens = {"cp", "dp", "ep", "pp", "tp"};
  const ParallelSizes sizes[] = {{.tp = 2, .cp = 3, .pp = 2, .dp = 2, .ep = 4, .esp = 3, .edp = 1},
                                 {.tp = 1, .cp = 2, .pp = 3, .dp = 4, .ep = 2, .esp = 2, .edp = 2}};
  do {
    const std::string order = tokens[0] + "-" + tokens[1] + "-" + tokens[2] + "-" + tokens[3] + "-" + tokens[4];
    for (const ParallelSizes& size : sizes) {
      const Layout made = layout(size, order);
      for (int k = 0; k < kGroupKinds; ++k) {
        const auto kind = static_cast<GroupKind>(k);
        std::vector<RankId> all;
        for (int group = 0; group < made.group_count(kind); ++group)
          for (const RankId rank : made.group_at(kind, group)) all.push_back(rank);
        std::sort(all.begin(), all.end());
        for (int r = 0; r < size.world(); ++r) {
          const RankId rank(r);
          ASSERT_EQ(all[rank.index()], rank) << order << " " << group_name(kind);
          const auto group = made.group(kind, rank);
          ASSERT_EQ(group[static_cast<std::size_t>(made.index_in_group(kind, rank))], rank);
          if (kind == GroupKind::kMirror) {
            const int stage = made.at(rank).pp;
            ASSERT_EQ(group.size(), 2 * stage == size.pp - 1 ? 1U : 2U);
            for (const RankId member : group) {
              Layout::Coordinates mirrored = made.at(member);
              ASSERT_TRUE(mirrored.pp == stage || mirrored.pp == size.pp - 1 - stage);
              mirrored.pp = stage;
              ASSERT_EQ(mirrored, made.at(rank));  // in both meshes
            }
          }
          if (kind == GroupKind::kPp || kind == GroupKind::kMirror || kind == GroupKind::kWorld) continue;
          for (const RankId member : group)
            ASSERT_EQ(made.at(member).pp, made.at(rank).pp) << order << group_name(kind);
        }
      }
      for (int r = 0; r < size.world(); ++r) {
        const RankId rank(r);
        ASSERT_EQ(made.index_in_group(GroupKind::kTp, rank), made.at(rank).tp);
        ASSERT_EQ(made.index_in_group(GroupKind::kCp, rank), made.at(rank).cp);
        ASSERT_EQ(made.index_in_group(GroupKind::kDp, rank), made.at(rank).dp);
        ASSERT_EQ(made.index_in_group(GroupKind::kPp, rank), made.at(rank).pp);
        ASSERT_EQ(made.index_in_group(GroupKind::kEp, rank), made.at(rank).ep);
        ASSERT_EQ(made.index_in_group(GroupKind::kEsp, rank), made.at(rank).esp);
        ASSERT_EQ(made.index_in_group(GroupKind::kEdp, rank), made.at(rank).edp);
      }
    }
  } while (std::next_permutation(tokens.begin(), tokens.end()));
}

TEST(Layout, LargestJobs) {
  const ParallelSizes sizes{.tp = 4, .cp = 2, .pp = 16, .dp = 128, .ep = 64, .esp = 1, .edp = 16};
  const Layout large = layout(sizes);
  EXPECT_EQ(large.world(), 16384);
  EXPECT_EQ(large.group(GroupKind::kEdp, RankId(0))[1], RankId(64));
  EXPECT_EQ(large.group(GroupKind::kPp, RankId(0))[1], RankId(1024));
}

std::string refusal(const LayoutSpec& spec, int world) {
  const auto made = Layout::make(spec, world);
  return made ? "accepted" : made.error().what;
}

TEST(LayoutErrors, UseTheWordsOfTheLauncher) {
  EXPECT_THAT(
      refusal({{.tp = 3, .dp = 21}}, 64),
      HasSubstr(
          "world size (64) is not divisible by tensor-model-parallel size (3) x pipeline-model-parallel size (1)"));
  EXPECT_THAT(refusal({{.tp = 2, .dp = 16, .edp = 64}}, 64), HasSubstr("data-parallel size is 16, but world size 64"));
  EXPECT_THAT(refusal({{.dp = 64, .ep = 48}}, 64),
              HasSubstr("not divisible by expert_tensor_model_pipeline_parallel size (esp 1 x ep 48 x pp 1)"));
  EXPECT_THAT(refusal({{.dp = 64, .ep = 8, .edp = 4}}, 64), HasSubstr("expert-data-parallel size is 4"));
  EXPECT_THAT(refusal({{.tp = 0, .dp = 64}}, 64), HasSubstr("tp is 0"));
  EXPECT_THAT(refusal({{.dp = -1}}, 64), HasSubstr("dp is -1"));
  EXPECT_THAT(refusal({{}}, 0), HasSubstr("world size is 0"));
  EXPECT_THAT(refusal({{.tp = 1 << 20, .cp = 1 << 20, .pp = 1 << 20, .dp = 1 << 20}}, 64), HasSubstr("not divisible"));
}

TEST(LayoutErrors, Order) {
  EXPECT_THAT(refusal({{}, "tp-cp-ep-dp"}, 1), HasSubstr("does not name 'pp'"));
  EXPECT_THAT(refusal({{}, "tp-cp-ep-dp-dp"}, 1), HasSubstr("names 'dp' twice"));
  EXPECT_THAT(refusal({{}, "tp-cp-ep-dp-xp"}, 1), HasSubstr("unknown dimension 'xp'"));
  EXPECT_THAT(refusal({{}, "tp-cp-ep-dp-pp-tp"}, 1), HasSubstr("names 'tp' twice"));
  EXPECT_THAT(refusal({{}, ""}, 1), HasSubstr("unknown dimension ''"));
}

TEST(LayoutErrors, DeviceMap) {
  const ParallelSizes two{.dp = 2, .edp = 2};
  const std::string order = "tp-cp-ep-dp-pp";
  EXPECT_THAT(refusal({two, order, {RankId(0)}}, 2), HasSubstr("names 1 ranks, the layout has 2"));
  EXPECT_THAT(refusal({two, order, {RankId(0), RankId(0)}}, 2), HasSubstr("names rank 0 twice"));
  EXPECT_THAT(refusal({two, order, {RankId(0), RankId(2)}}, 2), HasSubstr("names rank 2, expected 0 to 1"));
  EXPECT_THAT(refusal({two, order, {RankId(0), RankId()}}, 2), HasSubstr("names rank -1"));
}

}  // namespace
}  // namespace moesim
